package web

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	xlanguage "golang.org/x/text/language"
)

// language is one that the pages are in: its messages and the pages in it.
type language struct {
	Code     string
	Name     string
	tag      xlanguage.Tag
	messages map[string]string
	pages    map[string]*template.Template
	location *time.Location
	// comma is written in numbers between the whole and its parts.
	comma string
}

// languageCookie holds the language that somebody chose.
const languageCookie = "wacht-language"

// readLanguages reads the catalogues, English first: it is what those get who asked for
// none that there is.
func readLanguages(at *time.Location, a *assets) ([]*language, error) {
	out := []*language{
		{Code: "en", Name: "English", tag: xlanguage.English, comma: "."},
		{Code: "nl", Name: "Nederlands", tag: xlanguage.Dutch, comma: ","},
	}
	for _, l := range out {
		raw, err := files.ReadFile("messages/" + l.Code + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("reading the messages: %w", err)
		}
		if err := yaml.Unmarshal(raw, &l.messages); err != nil {
			return nil, fmt.Errorf("reading messages/%s.yaml: %w", l.Code, err)
		}
		l.location = at
		if l.pages, err = templates(l.funcs(a)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// languageOf chooses what somebody chose before, or what their browser prefers.
func (s *site) languageOf(r *http.Request) *language {
	if c, err := r.Cookie(languageCookie); err == nil {
		for _, l := range s.languages {
			if l.Code == c.Value {
				return l
			}
		}
	}
	tags := make([]xlanguage.Tag, len(s.languages))
	for i, l := range s.languages {
		tags[i] = l.tag
	}
	wanted, _, err := xlanguage.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil {
		return s.languages[0]
	}
	_, i, _ := xlanguage.NewMatcher(tags).Match(wanted...)
	return s.languages[i]
}

// setLanguage remembers a choice for a year.
func (s *site) setLanguage(v *visit) error {
	for _, l := range s.languages {
		if l.Code == v.r.PostFormValue("language") {
			http.SetCookie(v.w, &http.Cookie{
				Name: languageCookie, Value: l.Code, Path: "/", MaxAge: 365 * 24 * 3600,
				Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
			})
		}
	}
	return v.redirect(local(v.r.PostFormValue("next")))
}

// local returns an address of this site to go on to, and / for any other: a link to
// our sign-in must not lead elsewhere afterwards.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") ||
		strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

func (l *language) template(name string) (*template.Template, error) {
	t := l.pages[name]
	if t == nil {
		return nil, fmt.Errorf("there is no page %s", name)
	}
	return t, nil
}

func (l *language) has(key string) bool { return l.messages[key] != "" }

// text is a message; a key that there is not shows as itself, and a test finds it.
func (l *language) text(key string, args ...any) string {
	m, ok := l.messages[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return m
	}
	return fmt.Sprintf(m, args...)
}

// count is a message about a number of things: key.one or key.many.
func (l *language) count(key string, n int) string {
	if n == 1 {
		return l.text(key+".one", n)
	}
	return l.text(key+".many", n)
}

// word translates a word of the desk, such as an impact; one that a service level or
// a customer invented stays as it is.
func (l *language) word(kind, word string) string {
	if m, ok := l.messages[kind+"."+word]; ok {
		return m
	}
	return word
}
