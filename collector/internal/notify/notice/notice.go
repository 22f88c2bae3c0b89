// Package notice holds what the engine, the sender and the channels share: what is
// told, to whom it is on its way, and what a channel is.
package notice

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Undelivered is told to the fallback of a channel that could not deliver.
const Undelivered = "undelivered"

// Events lists what is told of incidents and problems.
func Events() []string {
	return append([]string{
		incident.Opened, incident.Reopened, incident.WasResolved, incident.Reprioritised,
		incident.RespondNear, incident.RespondMissed, incident.ResolveNear, incident.ResolveMissed, Undelivered,
	}, ProblemEvents()...)
}

// ProblemEvents lists what is told of problems.
func ProblemEvents() []string {
	return []string{problem.WasOpened, problem.WasReopened, problem.WasResolved}
}

// Notice is what the desk wants people to know of an incident or a problem.
type Notice = desk.Notice

// State is where a delivery is.
type State string

// A delivery is pending until it is sent, when its row is deleted, or dead, when
// nobody tries any more.
const (
	Pending State = "pending"
	Dead    State = "dead"
)

// Delivery is a notice on its way to one channel.
type Delivery struct {
	// ID is a ULID: rows are ordered by time.
	ID string `json:"id"`
	// Key stays the same over retries, restarts and a repeated decision of the engine,
	// so that a receiver can drop what it has already.
	Key     string `json:"key"`
	Channel string `json:"channel"`
	Notice  Notice `json:"notice"`

	State     State     `json:"state"`
	CreatedAt time.Time `json:"created_at"`
	// Attempts counts those that failed; the next one is due at NextAt.
	Attempts  int       `json:"attempts,omitempty"`
	NextAt    time.Time `json:"next_at,omitzero"`
	LastError string    `json:"last_error,omitempty"`
	DeadAt    time.Time `json:"dead_at,omitzero"`
}

// New makes the pending delivery of a notice to a channel. The same key of a notice
// gives the same key of the delivery, and at the same time the same id. A notice
// without a key gets one of what it is about, its revision and the event.
func New(now time.Time, n Notice, channel string) Delivery {
	about := n.About()
	if n.Key == "" {
		n.Key = fmt.Sprintf("%s:%d:%s", about.Number, about.Revision, n.Event)
	}
	return keyed(now, n, channel, about.Customer, n.Key)
}

// Instead makes the delivery that tells another channel of a dead one.
func (d Delivery) Instead(now time.Time, channel string) Delivery {
	n := d.Notice
	n.Event, n.At = Undelivered, now
	n.Lines = append([]string{
		fmt.Sprintf("Channel %s could not tell that %s: %s", d.Channel, n.About().Number, d.Notice.Event), d.LastError,
	}, n.Lines...)
	return keyed(now, n, channel, d.Key)
}

// keyed makes a delivery with a key that follows from parts and the channel.
func keyed(now time.Time, n Notice, channel string, parts ...string) Delivery {
	// A timeline can be long, and holds what engineers write to each other.
	n.Incident.Timeline = nil
	sum := sha256.Sum256([]byte(strings.Join(append(parts, channel), "\x00")))
	return Delivery{
		ID: id(now, n.About().Revision, sum[:]), Key: hex.EncodeToString(sum[:16]), Channel: channel,
		Notice: n, State: Pending, CreatedAt: now,
	}
}

// id orders deliveries of one moment by the revision of what they are about.
func id(now time.Time, revision int, sum []byte) string {
	entropy := binary.BigEndian.AppendUint32(nil, uint32(revision))
	entropy = append(entropy, sum[16:22]...)
	made, err := ulid.New(ulid.Timestamp(now), bytes.NewReader(entropy))
	if err != nil {
		// Only a time after the year 10889 gets here; the order is lost, nothing else.
		return hex.EncodeToString(sum[:16])
	}
	return made.String()
}

// outbox and deadLetters read and write the tables below.
func outbox() store.Typed[Delivery]      { return store.Typed[Delivery]{Table: &Outbox} }
func deadLetters() store.Typed[Delivery] { return store.Typed[Delivery]{Table: &DeadLetters} }

// The tables of deliveries, by customer and id.
var (
	Outbox      = store.Table{Name: "outbox"}
	DeadLetters = store.Table{Name: "dead_letters"}
)

// Write makes the write that stores the delivery in the table of its state. It
// belongs into the same commit as the change that it tells of.
func (d Delivery) Write() (store.Write, error) {
	if d.State == Dead {
		return deadLetters().Put(d.Notice.About().Customer, d.ID, d)
	}
	return outbox().Put(d.Notice.About().Customer, d.ID, d)
}

// Delete makes the write that deletes the delivery from the table of its state.
func (d Delivery) Delete() store.Write {
	if d.State == Dead {
		return deadLetters().Delete(d.Notice.About().Customer, d.ID)
	}
	return outbox().Delete(d.Notice.About().Customer, d.ID)
}
