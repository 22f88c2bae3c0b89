package store

import (
	"errors"
	"fmt"
	"strings"
)

// Check says what is wrong with a write before it reaches a disk: a table without a
// name, or a customer, key or value beyond the limits.
func (w Write) Check() error {
	if w.Table == nil {
		return errors.New("a write names no table")
	}
	if err := CheckName(w.Table.Name); err != nil {
		return err
	}
	if err := CheckKey(w.Customer, w.Key); err != nil {
		return fmt.Errorf("table %s: %w", w.Table.Name, err)
	}
	if len(w.Value) > MaxValueBytes {
		return fmt.Errorf("table %s, customer %q, key %q: a value of %d bytes, more than %d",
			w.Table.Name, w.Customer, w.Key, len(w.Value), MaxValueBytes)
	}
	return nil
}

// CheckName refuses names of tables and indexes that are empty or hold a zero byte.
func CheckName(name string) error {
	if name == "" || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%q names no table or index", name)
	}
	return nil
}

// CheckKey refuses customers and keys beyond the limits. Errors show the start only:
// a key of a megabyte helps nobody.
func CheckKey(customer, key string) error {
	switch {
	case strings.ContainsRune(customer, 0):
		return fmt.Errorf("customer %.40q holds a zero byte", customer)
	case len(customer) > MaxCustomerBytes:
		return fmt.Errorf("customer %.40q … has %d bytes, more than %d", customer, len(customer), MaxCustomerBytes)
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("key %.40q … has %d bytes, more than %d", key, len(key), MaxKeyBytes)
	}
	return nil
}
