package desk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
)

// What can be wrong with what a person asks. Each is wrapped with the number or field
// and with what to do.
var (
	// ErrNotFound says that the desk holds no such incident: there is none, or it is
	// closed (see Allows).
	ErrNotFound = errors.New("no such open or resolved incident")
	// ErrWrongState says that the incident is not in a state for it.
	ErrWrongState = errors.New("not possible now")
	// ErrInvalid says that a text is missing, too long or not one of a list.
	ErrInvalid = errors.New("invalid")
)

// Limits of what people write. A text in excess is refused, never cut.
const (
	MaxLine = 200      // characters of a title, a name, a service
	MaxText = 16 << 10 // bytes of a description or comment
)

// Kinds are the kinds of incident.
func Kinds() []string { return []string{"incident", "question", "request", "change-request"} }

// Categories are the categories of incidents and problems.
func Categories() []string {
	return []string{
		"login", "mail", "internet", "print", "files", "application", "internet service",
		"telephony", "hardware", "performance", "other",
	}
}

func (r Report) handle(t *turn) error {
	in, err := t.reported(&r)
	if err != nil {
		return err
	}
	tk := t.open(in, incident.Entry{By: in.Reporter, Text: in.Description, Why: "reported by a person"})
	t.why(Key{Host: in.Host}, incident.Opened, tk.Number, "reported by a person: impact %s and urgency %s make it %s", tk.Impact, tk.Urgency, tk.Priority)
	return nil
}

// reported checks a report, and makes an incident of it.
func (t *turn) reported(r *Report) (incident.Incident, error) {
	in := incident.Incident{
		Title: r.Title, Description: r.Description, Kind: cmp.Or(r.Kind, "incident"), Category: cmp.Or(r.Category, "other"),
		Impact: r.Impact, Urgency: r.Urgency, Site: r.Site, Host: r.Host, HostName: r.HostName,
		Service: r.Service, Reporter: r.Reporter, Team: r.Team,
	}
	if r.Customer != t.d.customer {
		return in, fmt.Errorf("a report of customer %q at the desk of %q", r.Customer, t.d.customer)
	}
	_, priorityErr := t.d.cfg.Level.Priority(r.Impact, r.Urgency)
	if priorityErr != nil {
		priorityErr = fmt.Errorf("%w %w", ErrInvalid, priorityErr)
	}
	err := errors.Join(
		line("title", &in.Title, true),
		line("reporter", &in.Reporter, true),
		line("site", &in.Site, false),
		line("host", &in.HostName, false),
		line("service", &in.Service, false),
		line("team", &in.Team, false),
		text("description", &in.Description, false),
		oneOf("kind", in.Kind, Kinds()),
		oneOf("category", in.Category, Categories()),
		priorityErr,
	)
	return in, err
}

func (a Act) handle(t *turn) error {
	if err := errors.Join(
		line("name", &a.By, true),
		text("text", &a.Text, a.Action == Comment),
		oneOf("action", string(a.Action), []string{string(Take), string(Comment), string(Resolve), string(Close), string(Reopen)}),
	); err != nil {
		return err
	}
	tk := t.d.tickets[a.Number]
	if tk == nil {
		return fmt.Errorf("%q: %w", clip(a.Number), ErrNotFound)
	}
	if err := Allows(&tk.Incident, a.Action); err != nil {
		return err
	}
	if a.Action == Reopen {
		if err := t.superseded(tk); err != nil {
			return err
		}
	}
	t.touch(tk)
	if repeated(&tk.Incident, &a) {
		t.why(KeyOf(&tk.Incident), Ignored, tk.Number, "%s by %s: it was so already", a.Action, a.By)
		return nil
	}
	t.act(tk, &a)
	t.why(KeyOf(&tk.Incident), tk.Timeline[len(tk.Timeline)-1].Event, tk.Number, "%s by %s", a.Action, a.By)
	return nil
}

// Allows reports whether an action is possible in the state of an incident, and else
// what to do instead. It is also for incidents that no desk holds any more.
func Allows(in *incident.Incident, action Action) error {
	wrong := func(advice string) error {
		return fmt.Errorf("%s %s is %s: %w; %s", action, in.Number, in.State, ErrWrongState, advice)
	}
	switch {
	case in.State == incident.Closed && action != Close:
		return wrong("report a new incident that names it")
	case in.State == incident.Resolved && action == Take:
		return wrong("reopen it first")
	case in.State == incident.Open && action == Close:
		return wrong("resolve it first")
	}
	return nil
}

// superseded refuses to reopen an incident whose rule has a newer one: a check state
// has one open incident a rule at most.
func (t *turn) superseded(tk *ticket) error {
	newest := t.d.find(KeyOf(&tk.Incident))
	if tk.Rule == "" || newest == tk || newest == nil {
		return nil
	}
	return fmt.Errorf("reopen %s: %w; %s has followed it, go on with that", tk.Number, ErrWrongState, newest.Number)
}

// repeated reports whether an action would do again what was done.
func repeated(in *incident.Incident, a *Act) bool {
	switch a.Action {
	case Take:
		return in.Assignee == a.By
	case Resolve:
		return in.State == incident.Resolved
	case Close:
		return in.State == incident.Closed
	case Reopen:
		return in.State == incident.Open
	}
	last := &in.Timeline[len(in.Timeline)-1]
	return last.Event == incident.Commented && last.By == a.By && last.Text == a.Text
}

func (t *turn) act(tk *ticket, a *Act) {
	e := incident.Entry{At: t.when(tk, a.At), By: a.By, Text: a.Text}
	switch a.Action {
	case Take:
		tk.Respond(a.By, e.At)
		e.Event = incident.Taken
		tk.Note(e)
	case Comment:
		e.Event = incident.Commented
		tk.Note(e)
	case Resolve:
		tk.Respond(cmp.Or(tk.Assignee, a.By), e.At)
		if tk.Breached() {
			e.Why = "its rule still says " + tk.Level.String() + "; a new breach reopens it"
		}
		tk.Resolve(e, incident.ByPerson)
		t.tell(tk, incident.WasResolved, reasonOf(e))
	case Close:
		tk.Close(e)
	case Reopen:
		tk.Held = tk.Rule != "" && !tk.Breached()
		tk.Reopen(t.d.cfg.Level, e)
		t.tell(tk, incident.Reopened, reasonOf(e))
	}
}

// when is when a person did something: what they say, but not after now and not before
// what the ticket already says.
func (t *turn) when(tk *ticket, at time.Time) time.Time {
	last := tk.Timeline[len(tk.Timeline)-1].At
	at = at.UTC().Round(0)
	if at.IsZero() || at.Before(last) || at.After(t.now) {
		return t.now
	}
	return at
}

// line checks a text of one line, and trims it.
func line(name string, s *string, required bool) error {
	*s = strings.TrimSpace(*s)
	switch n := utf8.RuneCountInString(*s); {
	case *s == "" && required:
		return fmt.Errorf("%w %s: it is missing", ErrInvalid, name)
	case n > MaxLine:
		return fmt.Errorf("%w %s: it has %d characters; at most %d are allowed", ErrInvalid, name, n, MaxLine)
	case !utf8.ValidString(*s):
		return fmt.Errorf("%w %s: it is not UTF-8", ErrInvalid, name)
	case strings.ContainsFunc(*s, unicode.IsControl):
		return fmt.Errorf("%w %s: it has control characters; write it on one line", ErrInvalid, name)
	}
	return nil
}

// text checks a text of several lines, and trims it.
func text(name string, s *string, required bool) error {
	*s = strings.TrimSpace(*s)
	switch {
	case *s == "" && required:
		return fmt.Errorf("%w %s: it is missing", ErrInvalid, name)
	case len(*s) > MaxText:
		return fmt.Errorf("%w %s: it has %d bytes; at most %d are allowed", ErrInvalid, name, len(*s), MaxText)
	case !utf8.ValidString(*s):
		return fmt.Errorf("%w %s: it is not UTF-8", ErrInvalid, name)
	case strings.ContainsRune(*s, 0):
		return fmt.Errorf("%w %s: it has a zero byte", ErrInvalid, name)
	}
	return nil
}

func oneOf(name, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%w %s: %q is not one of %s", ErrInvalid, name, clip(value), strings.Join(allowed, ", "))
}

// machineText makes a program's text fit to be kept: unlike a person, it can't be asked
// to write it again.
func machineText(s string) string { return strings.ToValidUTF8(s, "�") }

// clip makes a program's text one line of at most MaxLine characters.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, machineText(s))
	if utf8.RuneCountInString(s) <= MaxLine {
		return s
	}
	return string([]rune(s)[:MaxLine-1]) + "…"
}
