"""Serves a check to a Wacht agent: copy this file beside your own.

It needs what protoc makes of plugin.proto and check.proto, a check.yaml beside it, and
Debian's python3-grpcio, python3-protobuf and python3-cryptography. plugin.proto says
what happens here and why.
"""

import base64
import datetime
import os
import pkgutil
import sys
from concurrent import futures

import grpc
from checks.checkpb import check_pb2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from plugins.pluginpb import plugin_pb2, plugin_pb2_grpc

OK, WARNING, CRITICAL, UNKNOWN = check_pb2.OK, check_pb2.WARNING, check_pb2.CRITICAL, check_pb2.UNKNOWN


def result(item, summary, status=OK, **gauges):
    """Makes a result. Gauges are figures that check.yaml declares, by name."""
    metrics = [check_pb2.Metric(name=name, value=value) for name, value in gauges.items()]
    return check_pb2.Result(item=item, status=status, summary=summary, metrics=metrics)


def serve(run, discover=lambda params: [""]):
    """Serves until the agent ends the process.

    run(params) gives results; what it raises makes the check unknown. discover(params)
    gives the names of instances; by default there is one, without a name. params are
    lists of texts by name.
    """
    if os.environ.get("WACHT_PLUGIN") != "check":
        sys.exit("This is a plugin of the Wacht agent, which starts it: see wacht-agent plugin --help")
    key, certificate, der = identity()
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    plugin_pb2_grpc.add_CheckServicer_to_server(Check(run, discover), server)
    socket = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "socket")
    server.add_secure_port("unix:" + socket, credentials)
    server.start()
    print("1", "1", "unix", socket, "grpc", base64.b64encode(der).decode().rstrip("="), sep="|", flush=True)
    server.wait_for_termination()


def identity():
    """Makes a certificate for this process, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, certificate.public_bytes(pem), certificate.public_bytes(serialization.Encoding.DER)


class Check(plugin_pb2_grpc.CheckServicer):
    def __init__(self, run, discover):
        self.run, self.discover = run, discover

    def Describe(self, request, context):
        return plugin_pb2.DescribeResponse(yaml=pkgutil.get_data(__name__, "check.yaml"))

    def Discover(self, request, context):
        names = told(context, lambda: list(self.discover(values(request.params))))
        return plugin_pb2.DiscoverResponse(instances=[plugin_pb2.Instance(name=name) for name in names])

    def Run(self, request, context):
        results = told(context, lambda: list(self.run(values(request.params))))
        return plugin_pb2.RunResponse(run=check_pb2.Run(results=results, complete=True))


def values(params):
    return {param.name: list(param.values) for param in params}


def told(context, function):
    try:
        return function()
    except Exception as error:
        context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
