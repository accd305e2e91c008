package bpf

import (
	"crypto/sha256"
	"sync"
)

// The types of fw.h under their own names.
type (
	Pkt        = ClassifierFwPkt
	Counter    = ClassifierFwCounter
	Event      = ClassifierFwEvent
	Iface      = ClassifierIface
	AddrKey    = ClassifierAddrKey
	CtKey      = ClassifierCtKey
	CtFlow     = ClassifierCtFlow
	CtAssured  = ClassifierCtAssured
	Stat       = ClassifierFwStat
	Limit      = ClassifierLimitState
	CgroupBits = ClassifierCgroupBits
	Meter      = ClassifierMeter
	MeterKey   = ClassifierMeterKey
	MeterState = ClassifierMeterState
	Recent     = ClassifierRecent
	Flows      = ClassifierFlows
	Place      = ClassifierConncountPlace
	PlaceKey   = ClassifierConncountPlaceKey
	RecentKey  = ClassifierRecentKey
	CgroupPath = WatchCgroupPath
	RouteEpoch = ClassifierRouteEpoch
	OwnAddr    = ConnectOwnAddr
)

// Sum tells the objects of this package from those of another version.
var Sum = sync.OnceValue(func() [sha256.Size]byte {
	h := sha256.New()
	for _, b := range [][]byte{_ClassifierBytes, _XdpBytes, _ConnectBytes} {
		sum := sha256.Sum256(b)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
})
