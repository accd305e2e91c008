package bpf

import (
	"sync"

	"github.com/cilium/ebpf"
)

// object is an object that is read once: reading the classifier's takes 8 ms, copying it a sixteenth of that.
type object struct {
	read func() (*ebpf.CollectionSpec, error)
}

// The objects of a generation.
var (
	Classifier = object{sync.OnceValues(LoadClassifier)}
	XDP        = object{sync.OnceValues(LoadXdp)}
	Connect    = object{sync.OnceValues(LoadConnect)}
)

// Spec is a copy of the object, which is the caller's to change.
func (o object) Spec() (*ebpf.CollectionSpec, error) {
	spec, err := o.read()
	if err != nil {
		return nil, err
	}
	return spec.Copy(), nil
}
