package winsvc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/windows"
)

// Secure makes the agent's folders where they are missing, and closes them to all but
// SYSTEM, administrators and the service. It refuses a folder that another made before:
// everybody may make folders among the data of all users, and would keep a hold on it.
func Secure(folder, stateDir string) error {
	for _, f := range []struct{ path, list string }{
		{folder, readable()},
		{filepath.Join(folder, "secrets"), readable()},
		{stateDir, writable()},
	} {
		if err := secure(f.path, f.list); err != nil {
			return fmt.Errorf("closing %s to others: %w", f.path, err)
		}
	}
	return nil
}

func secure(path, list string) error {
	err := os.Mkdir(path, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		if err := trusted(path); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	descriptor, err := windows.SecurityDescriptorFromString(list)
	if err != nil {
		return fmt.Errorf("parsing its access list: %w", err)
	}
	dacl, _, err := descriptor.DACL()
	if err != nil {
		return fmt.Errorf("reading its access list: %w", err)
	}
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
}

// trusted fails for what is no folder, and for one that neither the system nor an
// administrator nor this user made.
func trusted(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("it is a link or a file, where a folder belongs: remove it")
	}
	descriptor, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("reading its owner: %w", err)
	}
	owner, _, err := descriptor.Owner()
	if err != nil {
		return fmt.Errorf("reading its owner: %w", err)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("finding this user: %w", err)
	}
	good := []string{"S-1-5-18", "S-1-5-32-544", SID("TrustedInstaller"), user.User.Sid.String()}
	if !slices.Contains(good, owner.String()) {
		return fmt.Errorf("it belongs to %s and not to an administrator: look at what it holds, then remove it", nameOf(owner))
	}
	return nil
}

func nameOf(sid *windows.SID) string {
	user, domain, _, err := sid.LookupAccount("")
	if err != nil {
		return sid.String()
	}
	return domain + `\` + user
}

// Purge deletes the folder with all that it holds, unless another made it. It follows
// no links.
func Purge(folder string) error {
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := trusted(folder); err != nil {
		return fmt.Errorf("deleting %s: %w", folder, err)
	}
	var paths []string
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting %s: %w", folder, err)
	}
	for _, path := range slices.Backward(paths) { // what a folder holds comes after it
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("deleting what the agent keeps: %w", err)
		}
	}
	return nil
}
