// Command receiver is the other end of a webhook, for trying notices out: it verifies
// each as a receiver should, and prints one line about it. make run starts one.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7499", "address to listen at")
	secretFile := flag.String("secret-file", "", "file with the secret of the signature")
	flag.Parse()
	if err := serve(*listen, *secretFile); err != nil {
		fmt.Fprintf(os.Stderr, "receiver: %v\n", err)
		os.Exit(1)
	}
}

func serve(listen, secretFile string) error {
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return fmt.Errorf("reading the secret: %w", err)
	}
	r := &receiver{secret: []byte(strings.TrimSpace(string(secret))), out: os.Stdout}
	s := &http.Server{Addr: listen, Handler: r, ReadHeaderTimeout: 5 * time.Second}
	return s.ListenAndServe()
}

// receiver takes webhooks and writes a line about each to out.
type receiver struct {
	secret []byte
	out    io.Writer
}

const (
	maxBody = 1 << 20
	maxSkew = 5 * time.Minute
)

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too long", http.StatusRequestEntityTooLarge)
		return
	}
	if err := r.verify(req.Header.Get("Wacht-Signature"), body); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	type ticket struct {
		Number, Priority, Title, Customer string
		HostName                          string `json:"host_name"`
	}
	var notice struct {
		Event    string  `json:"event"`
		Incident ticket  `json:"incident"`
		Problem  *ticket `json:"problem"` // instead of an incident
	}
	if err := json.Unmarshal(body, &notice); err != nil {
		http.Error(w, "the body is no notice", http.StatusBadRequest)
		return
	}
	in := notice.Incident
	if notice.Problem != nil {
		in = *notice.Problem
	}
	fmt.Fprintf(r.out, "%s  webhook: %s %s [%s] %s on %s (%s)\n",
		time.Now().Format(time.TimeOnly), notice.Event, in.Number, in.Priority, in.Title, in.HostName, in.Customer)
	w.WriteHeader(http.StatusNoContent)
}

// verify holds a signature of the form t=UNIX,v1=HEX against the body.
func (r *receiver) verify(header string, body []byte) error {
	at, signature, ok := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	seconds, err := strconv.ParseInt(at, 10, 64)
	given, hexErr := hex.DecodeString(signature)
	if !ok || err != nil || hexErr != nil {
		return errors.New("the request carries no signature")
	}
	if age := time.Since(time.Unix(seconds, 0)); age > maxSkew || age < -maxSkew {
		return errors.New("the signature is too old, or a clock is off")
	}
	mac := hmac.New(sha256.New, r.secret)
	fmt.Fprintf(mac, "%s.%s", at, body)
	if !hmac.Equal(mac.Sum(nil), given) {
		return errors.New("the signature is not of this body and secret")
	}
	return nil
}
