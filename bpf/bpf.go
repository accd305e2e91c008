package bpf

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
	RecentKey  = ClassifierRecentKey
	CgroupPath = WatchCgroupPath
	RouteEpoch = ClassifierRouteEpoch
	RouteNote  = ClassifierRouteNote
	OwnAddr    = ConnectOwnAddr
)
