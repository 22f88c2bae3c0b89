package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/admin"
)

func (c *cli) token() *cobra.Command {
	var (
		o      admin.TokenOrder
		ttl    duration
		labels []string
	)
	create := &cobra.Command{
		Use:   "create --customer CUSTOMER --site SITE",
		Short: "Print a token with which a machine can join",
		Long: `create prints a token, alone, on standard output. It is shown once: only a hash
of it is kept. Give it to 'wacht-agent enroll' on the machine that is to join.

With --uses more than one, for a roll-out, the machines that join with it wait until
'wacht-collector host approve' lets them in, and nothing of them is judged or told.`,
		Example: `  wacht-collector token create --customer acme --site utrecht
  wacht-collector token create --customer acme --site utrecht --uses 50 --label rack=3
  wacht-collector host approve --all --token wacht1_…`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.TTL = ttl.D()
			var err error
			if o.Labels, err = labelMap(labels); err != nil {
				return usage(cmd, err)
			}
			return c.with(cmd.Context(), func(a *admin.Client) error {
				text, err := a.CreateToken(cmd.Context(), o)
				if err == nil {
					fmt.Fprintln(c.stdout, text)
				}
				return err
			})
		},
	}
	f := create.Flags()
	f.StringVar(&o.Customer, "customer", "", "customer that the machine belongs to (required)")
	f.StringVar(&o.Site, "site", "", "site that the machine stands at (required)")
	f.Var(&ttl, "ttl", "how long the token works, at most 30d (default: 10m, or 30d with several uses)")
	f.IntVar(&o.Uses, "uses", 1, "how many machines may join with it")
	f.BoolVar(&o.NoApproval, "no-approval", false, "let the machines of a token with several uses in at once")
	f.StringArrayVar(&labels, "label", nil, "label for the machines, as name=value; may be repeated")
	required(create, "customer", "site")
	return group("token", "Make tokens with which machines join", create)
}

func labelMap(given []string) (map[string]string, error) {
	out := make(map[string]string, len(given))
	for _, l := range given {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("--label takes name=value, not %q", l)
		}
		out[name] = value
	}
	return out, nil
}

func (c *cli) user() *cobra.Command {
	var o admin.UserOrder
	add := &cobra.Command{
		Use:   "add NAME --role ROLE",
		Short: "Add a local account; the password is read from standard input",
		Example: `  wacht-collector user add alice --role engineer < password.txt
  systemd-ask-password | wacht-collector user add bob --role admin`,
		Args: args(one("the account to be added")),
		RunE: func(cmd *cobra.Command, given []string) error {
			o.Name = given[0]
			var err error
			if o.Password, err = c.password(); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(a *admin.Client) error { return a.AddUser(cmd.Context(), o) })
		},
	}
	roleFlags(add, &o.Role, &o.Customer)
	return group("user", "Keep the local accounts that people sign in with", add)
}

// maxPassword bounds what is read of standard input.
const maxPassword = 4096

func (c *cli) password() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(c.stdin, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", usageError{errors.New("no password: give it on standard input, as one line")}
	}
	return line, nil
}

func (c *cli) apitoken() *cobra.Command {
	var (
		o   admin.APITokenOrder
		ttl duration
	)
	create := &cobra.Command{
		Use:   "create --role ROLE",
		Short: "Print a token for programs that use the API",
		Long:  "create prints an API token, alone, on standard output. It is shown once: only a\nhash of it is kept. Send it as 'Authorization: Bearer TOKEN'.",
		Example: `  wacht-collector apitoken create --role engineer --name grafana
  wacht-collector apitoken create --role engineer --customer acme --ttl 90d`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.TTL = ttl.D()
			return c.with(cmd.Context(), func(a *admin.Client) error {
				text, err := a.CreateAPIToken(cmd.Context(), o)
				if err == nil {
					fmt.Fprintln(c.stdout, text)
				}
				return err
			})
		},
	}
	create.Flags().StringVar(&o.Name, "name", "", "what the token is for")
	create.Flags().Var(&ttl, "ttl", "how long the token works (default: until it is revoked)")
	roleFlags(create, &o.Role, &o.Customer)
	return group("apitoken", "Make tokens for programs that use the API", create)
}

func roleFlags(cmd *cobra.Command, role, customer *string) {
	cmd.Flags().StringVar(role, "role", "", "admin or engineer (required)")
	cmd.Flags().StringVar(customer, "customer", "", "the only customer that is shown (default: all)")
	required(cmd, "role")
}

// required refuses a command without its flags, as wrong use.
func required(cmd *cobra.Command, names ...string) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		for _, n := range names {
			if !cmd.Flags().Changed(n) {
				return usage(cmd, fmt.Errorf("--%s is needed", n))
			}
		}
		return run(cmd, given)
	}
}

// duration is a flag that also takes whole days.
type duration checks.Duration

func (d duration) D() time.Duration { return time.Duration(d) }

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return checks.Duration(*d).String()
}

func (d *duration) Type() string { return "duration" }

func (d *duration) Set(text string) error {
	return (*checks.Duration)(d).UnmarshalText([]byte(text))
}
