package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
)

// static/vendor holds htmx and uPlot where make put them; a plain go build goes without.
//
//go:embed templates messages static
var files embed.FS

// assets serves what the pages refer to, under addresses that change with their
// content, so that browsers can keep it.
type assets struct {
	version map[string]string // path below static/ to a part of its digest
	scripts bool
	handler http.Handler
}

func readAssets() (*assets, error) {
	static, err := fs.Sub(files, "static")
	if err != nil {
		return nil, fmt.Errorf("opening the static files: %w", err)
	}
	a := &assets{version: map[string]string{}, handler: http.StripPrefix("/static/", http.FileServerFS(static))}
	err = fs.WalkDir(static, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(static, path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		a.version[path] = hex.EncodeToString(sum[:6])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the static files: %w", err)
	}
	a.scripts = a.version["vendor/htmx.min.js"] != "" && a.version["vendor/uPlot.iife.min.js"] != ""
	return a, nil
}

// address is where a page finds a static file.
func (a *assets) address(path string) string { return "/static/" + path + "?v=" + a.version[path] }

// ServeHTTP serves files and no listings of folders.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/static/")
	version, there := a.version[path]
	if !there {
		http.NotFound(w, r)
		return
	}
	if r.URL.Query().Get("v") == version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("Etag", `"`+version+`"`)
	a.handler.ServeHTTP(w, r)
}
