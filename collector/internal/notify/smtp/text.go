package smtp

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

// subject names the incident or problem the same way in every mail, so that programs
// which sort by subject keep the thread together, and the event behind it.
func subject(n notice.Notice) string {
	title := n.Incident.Title
	if n.Problem != nil {
		title = n.Problem.Title
	}
	s := fmt.Sprintf("[%s] %s %s", n.About().Priority, n.About().Number, title)
	if !opening(&n) {
		s += " (" + n.Event + ")"
	}
	return clean(s)
}

// opening says whether a notice is the first of its thread.
func opening(n *notice.Notice) bool {
	return n.Event == kind(incident.Opened, problem.WasOpened, n)
}

// kind chooses by what a notice is about.
func kind[T any](ofIncident, ofProblem T, n *notice.Notice) T {
	if n.Problem != nil {
		return ofProblem
	}
	return ofIncident
}

// clean takes out what would end a header line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// thread puts the mail into the thread of its incident or problem. The thread's root is the mail of
// the opening; when nobody was told of that, the others still refer to it.
func (c *channel) thread(m *gomail.Msg, d notice.Delivery) {
	_, domain, _ := strings.Cut(c.from.Address, "@")
	about := d.Notice.About()
	sum := sha256.Sum256([]byte(about.Customer + "\x00" + about.Number + "\x00" + d.Channel))
	root := kind("wacht.incident.", "wacht.problem.", &d.Notice) + hex.EncodeToString(sum[:12]) + "@" + domain
	if opening(&d.Notice) {
		m.SetMessageIDWithValue(root)
		return
	}
	m.SetMessageIDWithValue("wacht." + d.Key + "@" + domain)
	m.SetGenHeader(gomail.HeaderInReplyTo, "<"+root+">")
	m.SetGenHeader(gomail.HeaderReferences, "<"+root+">")
}

// view is what a mail shows.
type view struct {
	Title string
	Lines []string
	Facts []fact
}

type fact struct{ Name, Value string }

func newView(n notice.Notice) view {
	v := view{Title: subject(n)}
	if len(n.Lines) > 0 {
		v.Title, v.Lines = n.Lines[0], n.Lines[1:]
	}
	facts := incidentFacts(&n.Incident)
	if n.Problem != nil {
		facts = problemFacts(n.Problem)
	}
	v.Facts = slices.DeleteFunc(facts, func(f fact) bool { return f.Value == "" })
	return v
}

func incidentFacts(in *incident.Incident) []fact {
	return []fact{
		{"Customer", in.Customer}, {"Site", in.Site}, {"Host", firstOf(in.HostName, in.Host)},
		{"Check", strings.TrimSpace(in.Check + " " + in.Item)}, {"Service", in.Service},
		{"Priority", in.Priority}, {"Category", in.Category}, {"State", string(in.State)},
		{"Opened", stamp(in.OpenedAt)}, {"Respond by", stamp(in.RespondBy)}, {"Solve by", stamp(in.ResolveBy)},
		{"Resolved", stamp(in.ResolvedAt)}, {"Reported by", in.Reporter},
	}
}

func problemFacts(p *problem.Problem) []fact {
	return []fact{
		{"Customer", p.Customer}, {"Site", p.Site}, {"Host", firstOf(p.HostName, p.Host)},
		{"Check", strings.TrimSpace(p.Check + " " + p.Item)},
		{"Priority", p.Priority}, {"Category", p.Category}, {"State", string(p.State)},
		{"Opened", stamp(p.OpenedAt)}, {"Limit reached", stamp(p.ReachedAt)}, {"Resolved", stamp(p.ResolvedAt)},
	}
}

func firstOf(words ...string) string {
	for _, word := range words {
		if word != "" {
			return word
		}
	}
	return ""
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("Mon 2 Jan 2006 15:04:05 MST")
}

func (v view) text() string {
	var b strings.Builder
	b.WriteString(v.Title + "\n\n")
	for _, line := range v.Lines {
		b.WriteString(line + "\n")
	}
	if len(v.Lines) > 0 {
		b.WriteString("\n")
	}
	for _, f := range v.Facts {
		fmt.Fprintf(&b, "%-14s %s\n", f.Name+":", f.Value)
	}
	return b.String()
}

const page = `<!doctype html>
<html><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body style="font-family: sans-serif">
<h1 style="font-size: 1.2em">{{.Title}}</h1>
{{range .Lines}}<p>{{if isLink .}}<a href="{{.}}">{{.}}</a>{{else}}{{.}}{{end}}</p>
{{end}}<table>
{{range .Facts}}<tr><th style="text-align: left; padding-right: 1em">{{.Name}}</th><td>{{.Value}}</td></tr>
{{end}}</table>
</body></html>
`

// isLink says whether a line is an address and nothing else.
func isLink(line string) bool {
	return strings.HasPrefix(line, "https://") || strings.HasPrefix(line, "http://")
}

// html writes the page; html/template escapes what agents and people wrote.
func (v view) html(w io.Writer) error {
	t, err := template.New("mail").Funcs(template.FuncMap{"isLink": isLink}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, v)
}
