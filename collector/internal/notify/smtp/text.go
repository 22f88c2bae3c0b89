package smtp

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

// subject names the incident the same way in every mail, so that programs which sort
// by subject keep the thread together, and the event behind it.
func subject(n notice.Notice) string {
	s := fmt.Sprintf("[%s] %s %s", n.Incident.Priority, n.Incident.Number, n.Incident.Title)
	if n.Event != incident.Opened {
		s += " (" + n.Event + ")"
	}
	return clean(s)
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

// thread puts the mail into its incident's thread. The thread's root is the mail of
// the opening; when nobody was told of that, the others still refer to it.
func (c *channel) thread(m *gomail.Msg, d notice.Delivery) {
	_, domain, _ := strings.Cut(c.from.Address, "@")
	in := d.Notice.Incident
	sum := sha256.Sum256([]byte(in.Customer + "\x00" + in.Number + "\x00" + d.Channel))
	root := "wacht.incident." + hex.EncodeToString(sum[:12]) + "@" + domain
	if d.Notice.Event == incident.Opened {
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
	in := n.Incident
	v := view{Title: fmt.Sprintf("%s %s: %s", in.Number, n.Event, in.Title)}
	if len(n.Lines) > 0 {
		v.Title, v.Lines = n.Lines[0], n.Lines[1:]
	}
	for _, f := range []fact{
		{"Customer", in.Customer}, {"Site", in.Site}, {"Host", firstOf(in.HostName, in.Host)},
		{"Check", strings.TrimSpace(in.Check + " " + in.Item)}, {"Service", in.Service},
		{"Priority", in.Priority}, {"Category", in.Category}, {"State", string(in.State)},
		{"Opened", stamp(in.OpenedAt)}, {"Respond by", stamp(in.RespondBy)}, {"Solve by", stamp(in.ResolveBy)},
		{"Resolved", stamp(in.ResolvedAt)}, {"Reported by", in.Reporter},
	} {
		if f.Value != "" {
			v.Facts = append(v.Facts, f)
		}
	}
	return v
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
		fmt.Fprintf(&b, "%-12s %s\n", f.Name+":", f.Value)
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
