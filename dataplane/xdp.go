package dataplane

// xdpDispatcher stands in XDP.
const xdpDispatcher = "xdp_dispatch"
