package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address completes host or host:port to host:port.
func Address(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), DefaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("%q is not HOST:PORT", text)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q in %q is not a port", port, text)
	}
	if host == "" || strings.ContainsAny(host, "/ \t") {
		return "", fmt.Errorf("%q is not HOST:PORT: give the name alone, without https://", text)
	}
	return net.JoinHostPort(host, port), nil
}
