package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/wacht-io/wacht/checks/smart/drives"
)

// asker is smartctl.
type asker interface {
	Scan(ctx context.Context) ([]drives.Device, error)
	Serial(ctx context.Context, d drives.Device) string
	Ask(ctx context.Context, d drives.Device) (drives.Answer, error)
}

// scanners is how many drives are asked for their serial number at a time.
const scanners = 8

// shelf holds the newest list of drives.
type shelf struct {
	find func() (asker, error)

	listing chan struct{} // holds something while a list is made: one at a time

	mu         sync.Mutex
	asker      asker
	generation string
	drives     []listed
	asked      map[drives.Device]bool // a drive that hangs is not asked again meanwhile
}

func newShelf(find func() (asker, error)) *shelf {
	return &shelf{find: find, listing: make(chan struct{}, 1), asked: make(map[drives.Device]bool)}
}

// listed is a drive with the serial number that it had when it was listed; empty
// when it did not say, as a disk that has spun down.
type listed struct {
	Device drives.Device
	Serial string
}

// list looks for drives and keeps what it found.
func (s *shelf) list(ctx context.Context) drives.Reply {
	select {
	case s.listing <- struct{}{}:
		defer func() { <-s.listing }()
	case <-ctx.Done():
		return drives.Reply{Code: drives.CodeBusy, Error: "an earlier look for drives has not ended yet"}
	}
	asker, err := s.find()
	if err != nil {
		return drives.Failure(err)
	}
	devices, err := asker.Scan(ctx)
	if err != nil {
		return drives.Failure(err)
	}
	if len(devices) > drives.MaxDrives {
		return drives.Failure(fmt.Errorf("there are %d drives; the limit is %d", len(devices), drives.MaxDrives))
	}
	found := serials(ctx, asker, devices)
	generation := digest(found)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asker, s.generation, s.drives = asker, generation, found
	return drives.Reply{Generation: generation, Drives: devices}
}

// serials asks each drive that can be opened for its serial number.
func serials(ctx context.Context, asker asker, devices []drives.Device) []listed {
	found := make([]listed, len(devices))
	var wg sync.WaitGroup
	free := make(chan struct{}, scanners)
	for i, d := range devices {
		found[i].Device = d
		if d.OpenError != "" {
			continue
		}
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			found[i].Serial = asker.Serial(ctx, d)
		})
	}
	wg.Wait()
	return found
}

// digest names a list: the same drives at the same places have the same generation,
// so that two callers don't disturb each other.
func digest(found []listed) string {
	data, _ := json.Marshal(found) // strings only
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// read asks the drive at a place of the list, unless it is another drive by now.
func (s *shelf) read(ctx context.Context, request drives.Request) drives.Reply {
	drive, asker, refusal := s.take(request)
	if refusal != nil {
		return *refusal
	}
	defer s.giveBack(drive.Device)
	answer, err := asker.Ask(ctx, drive.Device)
	if err != nil {
		return drives.Failure(err)
	}
	if serial := answer.Serial(); drive.Serial != "" && serial != "" && serial != drive.Serial {
		s.forget(request.Generation)
		return drives.Failure(drives.ErrChanged)
	}
	return drives.Reply{ExitStatus: answer.ExitStatus, Report: answer.JSON}
}

// take finds the drive that is meant and marks it as being asked.
func (s *shelf) take(request drives.Request) (listed, asker, *drives.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(code drives.Code, text string) (listed, asker, *drives.Reply) {
		return listed{}, nil, &drives.Reply{Code: code, Error: text}
	}
	switch {
	case request.Generation != s.generation: // also before the first list
		return refuse(drives.CodeChanged, drives.ErrChanged.Error())
	case request.Index >= len(s.drives):
		return refuse(drives.CodeRequest, fmt.Sprintf("the list has %d drives, and none at %d", len(s.drives), request.Index))
	}
	d := s.drives[request.Index]
	if s.asked[d.Device] {
		return refuse(drives.CodeBusy, "it has not answered an earlier request yet")
	}
	s.asked[d.Device] = true
	return d, s.asker, nil
}

func (s *shelf) giveBack(d drives.Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, d)
}

// forget drops a list that has turned out to be outdated.
func (s *shelf) forget(generation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation == generation {
		s.generation, s.drives = "", nil
	}
}
