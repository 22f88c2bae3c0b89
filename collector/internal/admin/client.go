package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
)

// Client gives orders to a collector through its socket.
type Client struct{ http *http.Client }

// Dial finds the collector that runs on a data folder. It says false when none does.
func Dial(ctx context.Context, dataDir string) (*Client, bool) {
	path := filepath.Join(dataDir, Socket)
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, false
	}
	_ = conn.Close()
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}, true
}

// CreateToken asks for a joining token.
func (c *Client) CreateToken(ctx context.Context, o TokenOrder) (string, error) {
	return c.order(ctx, "/token", o)
}

// AddUser asks for a local account.
func (c *Client) AddUser(ctx context.Context, o UserOrder) error {
	_, err := c.order(ctx, "/user", o)
	return err
}

// CreateAPIToken asks for a token for people's programs.
func (c *Client) CreateAPIToken(ctx context.Context, o APITokenOrder) (string, error) {
	return c.order(ctx, "/apitoken", o)
}

func (c *Client) order(ctx context.Context, path string, o any) (string, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("encoding the order: %w", err)
	}
	var t Text
	err = c.do(ctx, http.MethodPost, path, bytes.NewReader(body), func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&t)
	})
	return t.Text, err
}

// ReloadPolicy asks for the policy to be read again.
func (c *Client) ReloadPolicy(ctx context.Context) (string, error) {
	return c.order(ctx, "/policy/reload", struct{}{})
}

// Backup writes the collector's backup.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.do(ctx, http.MethodGet, "/backup", http.NoBody, func(r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Get reads an answer of the API into v.
func (c *Client) Get(ctx context.Context, path string, query url.Values, v any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, http.NoBody, func(r io.Reader) error {
		return json.NewDecoder(r).Decode(v)
	})
}

// Post asks the API to do something that needs no body.
func (c *Client) Post(ctx context.Context, path string) error {
	return c.do(ctx, http.MethodPost, path, http.NoBody, func(io.Reader) error { return nil })
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://collector"+path, body)
	if err != nil {
		return fmt.Errorf("asking the collector: %w", err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the collector: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return failure(resp)
	}
	if err := read(resp.Body); err != nil {
		return fmt.Errorf("reading the collector's answer: %w", err)
	}
	return nil
}

// wrongStatus is what the API answers to what can't be right.
var wrongStatus = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity}

// ErrNotFound says that the API knows nothing by the name that was asked for.
var ErrNotFound = errors.New("not found")

// failure reads why an order or an API call was refused: a Failure, or the API's
// problem document (RFC 9457).
func failure(resp *http.Response) error {
	var f struct {
		Failure
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxOrder))
	if json.Unmarshal(data, &f) != nil {
		return fmt.Errorf("the collector answered %s", resp.Status)
	}
	for _, text := range []string{f.Error, f.Detail, f.Title} {
		if text == "" {
			continue
		}
		if resp.StatusCode == http.StatusNotFound {
			return Wrong(fmt.Errorf("%w: %s", ErrNotFound, text))
		}
		if f.Wrong || slices.Contains(wrongStatus, resp.StatusCode) {
			return Wrong(errors.New(text))
		}
		return errors.New(text)
	}
	return fmt.Errorf("the collector answered %s", resp.Status)
}
