package dataplane

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/ethtool.h
const (
	ethtoolGetFlags   = 0x25
	ethtoolFlagRXVLAN = 1 << 8
)

// stripsVLANs reports whether the card takes VLAN tags out of the frames that it receives (rx-vlan-offload); yes if it does not say.
func stripsVLANs(name string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{cmd: ethtoolGetFlags}
	request := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data *struct{ cmd, data uint32 }
		_    [16]byte
	}{data: &value}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	return errno != 0 || value.data&ethtoolFlagRXVLAN != 0
}
