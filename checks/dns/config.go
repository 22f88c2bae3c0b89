package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// resolvConf is where the machine says whom it asks (resolv.conf(5)).
const resolvConf = "/etc/resolv.conf"

// system is the value that stands for the machine's own resolvers.
const system = "system"

// resolver is one that is asked.
type resolver struct {
	item string // as people write it
	addr netip.AddrPort
}

// config is what a run was asked to do.
type config struct {
	name      string // ends with a dot
	kind      uint16
	resolvers []resolver
	answers   map[string]bool // nil when all are right
	authority bool
}

func readConfig(ctx context.Context, p checks.Params) (*config, error) {
	cfg := &config{
		name: mdns.CanonicalName(p.String("name")), kind: mdns.StringToType[p.String("type")],
		authority: p.Bool("authority"),
	}
	if _, ok := mdns.IsDomainName(cfg.name); !ok {
		return nil, fmt.Errorf("parameter name: %q is no domain name", p.String("name"))
	}
	for _, value := range p.Strings("answers") {
		if cfg.answers == nil {
			cfg.answers = map[string]bool{}
		}
		cfg.answers[canonical(value)] = true
	}
	if err := cfg.readResolvers(p.Strings("resolvers")); err != nil {
		return nil, fmt.Errorf("parameter resolvers: %w", err)
	}
	if end, ok := ctx.Deadline(); ok && ctx.Err() == nil {
		takes := time.Duration(outward.Rounds(len(cfg.resolvers))-1) * tries * patience
		if left := time.Until(end); takes >= left {
			return nil, fmt.Errorf("parameter resolvers: to wait for %d of them takes up to %s, more than the %s there are",
				len(cfg.resolvers), text.Duration(takes+tries*patience), text.Duration(left))
		}
	}
	return cfg, nil
}

// readResolvers reads the list, each resolver once.
func (cfg *config) readResolvers(given []string) error {
	seen := map[netip.AddrPort]bool{}
	for _, value := range given {
		these, err := readResolver(value)
		if err != nil {
			return err
		}
		for _, r := range these {
			if !seen[r.addr] {
				seen[r.addr] = true
				cfg.resolvers = append(cfg.resolvers, r)
			}
		}
	}
	return nil
}

func readResolver(value string) ([]resolver, error) {
	if value == system {
		found, err := systemResolvers(resolvConf)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s names none: give their addresses", resolvConf)
		}
		return found, err
	}
	if addr, err := netip.ParseAddr(value); err == nil {
		return []resolver{{value, netip.AddrPortFrom(addr, 53)}}, nil
	}
	addr, err := netip.ParseAddrPort(value)
	if err != nil || addr.Port() == 0 {
		return nil, fmt.Errorf("%q is neither an address nor address:port", value)
	}
	return []resolver{{value, addr}}, nil
}

// systemResolvers reads whom the machine asks.
func systemResolvers(path string) ([]resolver, error) {
	conf, err := mdns.ClientConfigFromFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	port, err := strconv.ParseUint(conf.Port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("reading %s: port %q is no number", path, conf.Port)
	}
	var out []resolver
	for _, server := range conf.Servers {
		addr, err := netip.ParseAddr(server)
		if err != nil {
			continue // the C library skips it too
		}
		out = append(out, resolver{server, netip.AddrPortFrom(addr, uint16(port))})
	}
	return out, nil
}

// canonical writes the value of a record in one form: names in lower case with their
// dot, addresses in their shortest, and the quotes of texts away.
func canonical(value string) string {
	fields := strings.Fields(strings.ReplaceAll(value, `"`, ""))
	for i, f := range fields {
		if ip := net.ParseIP(f); ip != nil {
			fields[i] = ip.String()
			continue
		}
		fields[i] = strings.ToLower(strings.TrimSuffix(f, "."))
	}
	return strings.Join(fields, " ")
}
