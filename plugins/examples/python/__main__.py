import os
import time

from wacht_plugin import CRITICAL, result, serve


def run(params):
    for folder in params["folders"]:
        files = [entry.stat() for entry in os.scandir(folder) if entry.is_file()]
        if not files:
            yield result(folder, "there is no file", CRITICAL)
            continue
        newest = max(files, key=lambda file: file.st_mtime)
        age = time.time() - newest.st_mtime
        yield result(folder, f"the newest file is {age / 3600:.1f} h old",
                     age_seconds=age, size_bytes=newest.st_size)


serve(run)
