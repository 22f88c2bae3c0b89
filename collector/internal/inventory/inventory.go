// Package inventory holds what the MSP knows of its customers' machines: who they
// belong to, what they say of themselves, and whether they may still come in.
package inventory

import (
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Role is what a machine is for: a server may not sleep, a workstation may.
type Role string

// The two roles.
const (
	Server      Role = "server"
	Workstation Role = "workstation"
)

// Host is a machine with an agent.
type Host struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Site     string `json:"site"`
	// Name is what the host is called here and in metrics: the host name that it
	// joined with, with a number behind it where the customer had one of that name.
	// It stays, so that a host can't take another's place by renaming itself.
	Name string `json:"name"`
	// Hostname is what the machine calls itself now.
	Hostname string            `json:"hostname"`
	Role     Role              `json:"role"`
	Labels   map[string]string `json:"labels,omitempty"`

	OS           string    `json:"os"`
	Arch         string    `json:"arch"`
	Platform     string    `json:"platform"`
	Kernel       string    `json:"kernel"`
	AgentVersion string    `json:"agent_version"`
	BootedAt     time.Time `json:"booted_at,omitzero"`
	Fingerprint  [][]byte  `json:"fingerprint,omitempty"`

	// KeySHA256 is the digest of the SubjectPublicKeyInfo that the host proves
	// itself with; certificates come and go, the key stays.
	KeySHA256 []byte    `json:"key_sha256"`
	JoinedAt  time.Time `json:"joined_at"`
	TokenID   string    `json:"token_id,omitempty"`
	CloneOf   string    `json:"clone_of,omitempty"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	// Pending says that the host has joined and waits until a person approves it. Its
	// stream is refused, and nothing about it is judged or told. ApprovedAt and
	// ApprovedBy say when that ended, and who did it.
	Pending    bool      `json:"pending,omitempty"`
	ApprovedAt time.Time `json:"approved_at,omitzero"`
	ApprovedBy string    `json:"approved_by,omitempty"`
	CertUntil  time.Time `json:"cert_until,omitzero"`
	// Visit is the number of the newest stream; a Hello with an older one comes from
	// a copied or rolled-back state folder.
	Visit uint64 `json:"visit"`
	// GoodbyeAt and Goodbye say that the agent announced its leaving, and why.
	GoodbyeAt time.Time `json:"goodbye_at,omitzero"`
	Goodbye   string    `json:"goodbye,omitempty"`
}

// Hosts is the table of hosts, by host id.
var Hosts = store.Table{Name: "hosts"}
