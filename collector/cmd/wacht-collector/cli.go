package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/wacht-io/wacht/collector"
	"github.com/wacht-io/wacht/collector/internal/admin"
)

// cli holds what all commands share.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	dataDir        string
	configFile     string
	logFormat      string
}

func newCLI(stdin io.Reader, stdout, stderr io.Writer) *cli {
	return &cli{stdin: stdin, stdout: stdout, stderr: stderr}
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wacht-collector",
		Short: "Take in what agents measure, open incidents and tell people",
		Long: `wacht-collector is what a managed service provider runs. Agents on customers'
machines stream results to it; it turns breaches into incidents with a priority
and a clock, slow decay into problems, and tells people by mail and webhook.

The other commands act on the collector that runs on the data folder, or on its
files when none runs.`,
		Example: `  wacht-collector serve --data-dir ./data
  wacht-collector token create --customer acme --site utrecht --data-dir ./data
  wacht-collector user add alice --role engineer --data-dir ./data < password.txt`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, errors.New("say which command to run"))
		},
		Args: args(cobra.NoArgs),
	}
	root.SetVersionTemplate("wacht-collector {{.Version}}\n")
	root.SetFlagErrorFunc(usage)
	root.PersistentFlags().StringVar(&c.dataDir, "data-dir", "", "folder that holds everything the collector keeps (default from the configuration, else /var/lib/wacht-collector)")
	root.PersistentFlags().StringVar(&c.configFile, "config", "", "configuration file (default /etc/wacht/collector.yaml, when there is one)")
	root.PersistentFlags().StringVar(&c.logFormat, "log-format", "text", "how log lines are written: text or json")
	root.AddCommand(c.serve(), c.token(), c.user(), c.apitoken(), c.host(), c.incident(), c.policy(), c.backup(), c.restore(), c.manual())
	return root
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, fmt.Errorf("say what to do with %s", use))
		},
	}
	cmd.AddCommand(subs...)
	return cmd
}

func (c *cli) logger() (*slog.Logger, error) {
	switch c.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(c.stderr, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(c.stderr, nil)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format is text or json, not %q", c.logFormat)}
}

func (c *cli) options() (collector.Options, error) {
	log, err := c.logger()
	return collector.Options{ConfigFile: c.configFile, DataDir: c.dataDir, Logger: log, Version: version}, err
}

func (c *cli) serve() *cobra.Command {
	var web, agents string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the collector until it is told to stop",
		Long: `serve runs the collector. It serves agents (gRPC over mutual TLS) at one address,
and pages, API and Prometheus metrics (HTTP) at another. Put a proxy with TLS
before the second where people are not on this machine.`,
		Example: `  wacht-collector serve --data-dir ./data --web 127.0.0.1:7420 --agents :7421
  wacht-collector serve --config /etc/wacht/collector.yaml --log-format json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt, err := c.options()
			if err != nil {
				return err
			}
			if err := collector.TuneMemory(); err != nil {
				return err
			}
			opt.Web, opt.Agents, opt.Ready = web, agents, ready
			return collector.Run(cmd.Context(), opt)
		},
	}
	cmd.Flags().StringVar(&web, "web", "", "address for pages, API and metrics (default 127.0.0.1:7420)")
	cmd.Flags().StringVar(&agents, "agents", "", "address for agents (default :7421)")
	return cmd
}

// ready tells systemd, where that started the program and waits to hear it (sd_notify(3)).
func ready() { _, _ = daemon.SdNotify(true, daemon.SdNotifyReady) }

// manual writes the manual pages that packages bring.
func (c *cli) manual() *cobra.Command {
	return &cobra.Command{
		Use: "manual FOLDER", Short: "Write the manual pages, one a command", Hidden: true,
		Args: args(one("the folder for the pages")),
		RunE: func(cmd *cobra.Command, given []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Manual: "Wacht", Source: "wacht-collector " + version}
			if err := doc.GenManTree(root, header, given[0]); err != nil {
				return fmt.Errorf("writing the manual pages: %w", err)
			}
			return nil
		},
	}
}

// with gives orders to the collector that runs on the data folder, or to one that is
// opened for this command alone and listens to nobody else. It makes the folder where
// there is none: what is ordered is for the collector that will run on it.
func (c *cli) with(ctx context.Context, do func(*admin.Client) error) error {
	return c.admin(ctx, false, do)
}

// within is with, for orders that mean nothing where there is no data.
func (c *cli) within(ctx context.Context, do func(*admin.Client) error) error {
	return c.admin(ctx, true, do)
}

func (c *cli) admin(ctx context.Context, mustExist bool, do func(*admin.Client) error) error {
	opt, err := c.options()
	if err != nil {
		return err
	}
	opt.Logger = slog.New(slog.DiscardHandler)
	opt.MustExist = mustExist
	return collector.Admin(ctx, opt, do)
}
