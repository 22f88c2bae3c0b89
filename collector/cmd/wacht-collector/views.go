package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector"
	"github.com/wacht-io/wacht/collector/internal/admin"
)

func (c *cli) host() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List the hosts",
		Args:  args(cobra.NoArgs),
	}
	asJSON := list.Flags().Bool("json", false, "write JSON, as the API does")
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.show(cmd, "/api/v1/hosts", nil, *asJSON, printHosts)
	}
	revoke := &cobra.Command{
		Use:   "revoke HOST",
		Short: "Refuse a host from now on; its stream is cut",
		Long: `revoke refuses a host, by name or id, from now on: its stream is cut, its key is
never accepted again, and what was open about it ends as no longer observed. The
machine can come back with a new token, as a new host.`,
		Args: args(one("the host, by name or id")),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.within(cmd.Context(), func(a *admin.Client) error {
				err := a.Post(cmd.Context(), "/api/v1/hosts/"+url.PathEscape(given[0])+"/revoke")
				if errors.Is(err, admin.ErrNotFound) {
					return usageError{fmt.Errorf("there is no host %q; 'wacht-collector host list' lists them", given[0])}
				}
				return err
			})
		},
	}
	return group("host", "See, approve and revoke the machines that joined", list, c.approve(), revoke)
}

func (c *cli) approve() *cobra.Command {
	var all bool
	var token string
	approve := &cobra.Command{
		Use:   "approve HOST... | --all --token TOKEN",
		Short: "Let hosts in that joined with a token of several uses",
		Long: `approve lets hosts in, by name or id, that wait for it: those that joined with a token
of several uses. Their agents ask again within minutes, and send what they have kept.
'wacht-collector host list' shows which ones wait; revoke those that you don't know.`,
		Example: `  wacht-collector host approve web1 web2
  wacht-collector host approve --all --token wacht1_…`,
		RunE: func(cmd *cobra.Command, given []string) error {
			switch {
			case all && (token == "" || len(given) > 0):
				return usage(cmd, errors.New("--all takes --token, and no hosts beside it: it approves what joined with that token"))
			case !all && token != "":
				return usage(cmd, errors.New("--token goes with --all"))
			case !all && len(given) == 0:
				return usage(cmd, errors.New("which host? Name those that wait, or use --all --token"))
			}
			return c.within(cmd.Context(), func(a *admin.Client) error {
				if all {
					var err error
					if given, err = waiting(cmd.Context(), a, token); err != nil {
						return err
					}
				}
				return c.approveEach(cmd.Context(), a, given)
			})
		},
	}
	approve.Flags().BoolVar(&all, "all", false, "all that wait and joined with the token")
	approve.Flags().StringVar(&token, "token", "", "the token that they joined with, or its id")
	return approve
}

// waiting lists the ids of the hosts that joined with a token and wait.
func waiting(ctx context.Context, a *admin.Client, token string) ([]string, error) {
	if parsed, err := agentpb.ParseToken(token); err == nil {
		token = hex.EncodeToString(parsed.ID[:])
	}
	var list struct {
		Hosts []struct {
			ID        string
			TokenID   string `json:"token_id"`
			Pending   bool
			RevokedAt time.Time `json:"revoked_at"`
		}
	}
	if err := a.Get(ctx, "/api/v1/hosts", nil, &list); err != nil {
		return nil, err
	}
	var ids []string
	for _, h := range list.Hosts {
		if h.Pending && h.RevokedAt.IsZero() && h.TokenID == token {
			ids = append(ids, h.ID)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("no host that joined with this token waits for approval")
	}
	return ids, nil
}

func (c *cli) approveEach(ctx context.Context, a *admin.Client, hosts []string) error {
	for _, h := range hosts {
		err := a.Post(ctx, "/api/v1/hosts/"+url.PathEscape(h)+"/approve")
		if errors.Is(err, admin.ErrNotFound) {
			return usageError{fmt.Errorf("there is no host %q; 'wacht-collector host list' lists them", h)}
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(c.stdout, "approved: %s\n", humanize.Comma(int64(len(hosts))))
	return nil
}

func (c *cli) incident() *cobra.Command {
	var query struct{ state, customer, host, priority string }
	list := &cobra.Command{
		Use:     "list",
		Short:   "List incidents, newest first",
		Example: "  wacht-collector incident list\n  wacht-collector incident list --state all --priority P1 --json",
		Args:    args(cobra.NoArgs),
	}
	f := list.Flags()
	f.StringVar(&query.state, "state", "open", "open, resolved, closed or all")
	f.StringVar(&query.customer, "customer", "", "only this customer's")
	f.StringVar(&query.host, "host", "", "only about this host")
	f.StringVar(&query.priority, "priority", "", "only P1, P2, P3 or P4")
	listJSON := f.Bool("json", false, "write JSON, as the API does")
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		q := url.Values{"state": {query.state}, "limit": {"500"}}
		for name, value := range map[string]string{"customer": query.customer, "host": query.host, "priority": query.priority} {
			if value != "" {
				q.Set(name, value)
			}
		}
		return c.show(cmd, "/api/v1/incidents", q, *listJSON, printIncidents)
	}
	show := &cobra.Command{Use: "show NUMBER", Short: "Show one incident with its timeline and reasons", Example: "  wacht-collector incident show INC-00000012\n  wacht-collector incident show 12 --json", Args: args(one("the incident's number"))}
	showJSON := show.Flags().Bool("json", false, "write JSON, as the API does")
	show.RunE = func(cmd *cobra.Command, given []string) error {
		number := incidentNumber(given[0])
		err := c.show(cmd, "/api/v1/incidents/"+url.PathEscape(number), nil, *showJSON, printIncident)
		if errors.Is(err, admin.ErrNotFound) {
			return usageError{fmt.Errorf("there is no incident %s; 'wacht-collector incident list --state all' lists them", number)}
		}
		return err
	}
	return group("incident", "See incidents", list, show)
}

// incidentNumber takes a number as people type it: 12, inc-12 or INC-00000012.
func incidentNumber(given string) string {
	digits := strings.TrimPrefix(strings.ToUpper(given), "INC-")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return given
	}
	return fmt.Sprintf("INC-%08d", n)
}

// show reads an answer of the API and writes it as it is, or for a person.
func (c *cli) show(cmd *cobra.Command, path string, q url.Values, asJSON bool, person func(io.Writer, json.RawMessage) error) error {
	return c.within(cmd.Context(), func(a *admin.Client) error {
		var body json.RawMessage
		if err := a.Get(cmd.Context(), path, q, &body); err != nil {
			return err
		}
		if !asJSON {
			return person(c.stdout, body)
		}
		_, err := fmt.Fprintf(c.stdout, "%s\n", strings.TrimSpace(string(body)))
		return err
	})
}

// table writes aligned columns.
func table(w io.Writer, head string, rows func(row func(...string))) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	rows(func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) })
	return t.Flush()
}

func printHosts(w io.Writer, body json.RawMessage) error {
	var v struct {
		Hosts []struct {
			Name, Customer, Site, Level string
			Connected, Silent           bool
			States                      int
			LastSeen                    time.Time `json:"last_seen"`
			Pending                     bool
			RevokedAt                   time.Time `json:"revoked_at"`
			OpenIncidents               int       `json:"open_incidents"`
		}
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("reading the list of hosts: %w", err)
	}
	return table(w, "HOST\tCUSTOMER\tSITE\tSTATE\tLEVEL\tCHECKS\tINCIDENTS\tLAST SEEN", func(row func(...string)) {
		for _, h := range v.Hosts {
			state := "away"
			switch {
			case !h.RevokedAt.IsZero():
				state = "revoked"
			case h.Pending:
				state = "waits for approval"
			case h.Connected:
				state = "connected"
			case h.Silent:
				state = "silent"
			}
			row(h.Name, h.Customer, h.Site, state, h.Level, fmt.Sprint(h.States), fmt.Sprint(h.OpenIncidents), humanize.Time(h.LastSeen))
		}
	})
}

// ticket is what the commands show of an incident.
type ticket struct {
	Number, Title, State, Priority, Customer, Site, Category, Impact, Urgency, Assignee, Team, Check, Item string
	HostName                                                                                               string    `json:"host_name"`
	OpenedAt                                                                                               time.Time `json:"opened_at"`
	RespondBy                                                                                              time.Time `json:"respond_by"`
	ResolveBy                                                                                              time.Time `json:"resolve_by"`
	Occurrences                                                                                            int
	Timeline                                                                                               []struct {
		At                   time.Time
		By, Event, Text, Why string
	}
}

func printIncidents(w io.Writer, body json.RawMessage) error {
	var v struct{ Incidents []ticket }
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("reading the list of incidents: %w", err)
	}
	return table(w, "NUMBER\tPRIORITY\tSTATE\tCUSTOMER\tHOST\tTITLE\tOPENED\tSOLVE BY", func(row func(...string)) {
		for _, in := range v.Incidents {
			row(in.Number, in.Priority, in.State, in.Customer, in.HostName, in.Title, humanize.Time(in.OpenedAt), moment(in.ResolveBy))
		}
	})
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("Mon 2006-01-02 15:04")
}

func printIncident(w io.Writer, body json.RawMessage) error {
	var in ticket
	if err := json.Unmarshal(body, &in); err != nil {
		return fmt.Errorf("reading the incident: %w", err)
	}
	fmt.Fprintf(w, "%s  %s  %s\n\n", in.Number, in.Priority, in.Title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"state", in.State}, {"customer", in.Customer + " / " + in.Site}, {"host", in.HostName},
		{"check", strings.TrimSpace(in.Check + " " + in.Item)}, {"category", in.Category},
		{"impact × urgency", in.Impact + " × " + in.Urgency}, {"opened", moment(in.OpenedAt)},
		{"respond by", moment(in.RespondBy)}, {"solve by", moment(in.ResolveBy)},
		{"occurrences", fmt.Sprint(in.Occurrences)}, {"team", in.Team}, {"assignee", in.Assignee},
	} {
		if strings.Trim(line[1], " /×") != "" {
			fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, e := range in.Timeline {
		fmt.Fprintf(w, "\n%s  %s by %s\n", e.At.Local().Format("2006-01-02 15:04:05"), e.Event, e.By)
		for _, text := range []string{e.Text, e.Why} {
			if text != "" {
				fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(text, "\n", "\n    "))
			}
		}
	}
	return nil
}

func (c *cli) policy() *cobra.Command {
	check := &cobra.Command{
		Use:     "check DIR",
		Short:   "Verify a folder of policy before a collector uses it",
		Example: "  wacht-collector policy check ./policy",
		Args:    args(one("the folder with the policy's YAML files")),
		RunE: func(_ *cobra.Command, given []string) error {
			if info, err := os.Stat(given[0]); err != nil || !info.IsDir() {
				return usageError{fmt.Errorf("%s is not a folder; name the one that holds the policy's YAML files", given[0])}
			}
			summary, err := collector.CheckPolicy(given[0])
			if err == nil {
				_, err = fmt.Fprintln(c.stdout, summary)
			}
			return err
		},
	}
	reload := &cobra.Command{
		Use:   "reload",
		Short: "Let the running collector read its policy again",
		Long: `reload lets the collector read its folder of policy again. States are judged by the
new rules from their next result on, and agents get what changed for them. A
policy with an error changes nothing.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.within(cmd.Context(), func(a *admin.Client) error {
				text, err := a.ReloadPolicy(cmd.Context())
				if err == nil {
					_, err = fmt.Fprintln(c.stdout, text)
				}
				return err
			})
		},
	}
	return group("policy", "Verify and reload the MSP's layers of checks and rules", check, reload)
}

func (c *cli) backup() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup, also of a collector that runs",
		Long: `backup writes everything but measured history to FILE, as of one moment: hosts,
incidents, problems, accounts, and the authority's key, so keep it safe. A
collector that runs goes on meanwhile.`,
		Example: "  wacht-collector backup /backups/wacht-$(date +%F)",
		Args:    args(one("the backup's file")),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.within(cmd.Context(), func(a *admin.Client) error {
				if err := writeWhole(given[0], func(w io.Writer) error { return a.Backup(cmd.Context(), w) }); err != nil {
					return err
				}
				info, err := os.Stat(given[0])
				if err == nil {
					_, err = fmt.Fprintf(c.stderr, "wrote %s, %s; keep it safe: it holds the authority's key\n", given[0], humanize.IBytes(uint64(info.Size())))
				}
				return err
			})
		},
	}
}

func (c *cli) restore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data folder from a backup",
		Long: `restore makes the data folder's store from a backup that was written by 'backup',
after it has verified all of it. No collector may run on the folder. Agents go on
from what the backup knows of them.`,
		Example: "  wacht-collector restore /backups/wacht-2026-11-22 --data-dir ./data",
		Args:    args(one("the backup's file")),
	}
	replace := cmd.Flags().Bool("replace", false, "replace the data that the folder holds, which is kept beside it")
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		f, err := os.Open(given[0])
		if err != nil {
			return fmt.Errorf("reading the backup: %w", err)
		}
		defer f.Close()
		opt, err := c.options()
		if err != nil {
			return err
		}
		kept, err := collector.Restore(opt, f, *replace)
		if err == nil && kept != "" {
			_, err = fmt.Fprintf(c.stderr, "the data before the restore is kept in %s\n", kept)
		}
		if err == nil {
			_, err = fmt.Fprintln(c.stderr, "restored; start the collector with 'wacht-collector serve' on the same folder")
		}
		return err
	}
	return cmd
}
