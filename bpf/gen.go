package bpf

//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" -type fw_pkt -type fw_counter -type limit_state -type fw_event -type fw_stat -type fw_verdict -type iface -type addr_key -type ct_key -type ct_flow -type ct_assured -type conncount_key -type conncount_place -type conncount_place_key -type conncount -type fw_notice -type frag_key -type frag_first -type cgroup_bits -type meter -type meter_key -type meter_state -type flows -type recent -type recent_key -type recent_entry -type route_epoch -type route_note Classifier tc_classifier.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" Xdp xdp_classifier.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" Dispatcher dispatcher.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" -type fw_reaper Reaper reaper.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" -type owner Cgroup cgroup_sock.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" SetReaper set_reaper.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" -type own_addr Connect cgroup_connect.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" -type cgroup_path Watch cgroup_watch.c -- -I headers
//go:generate go tool bpf2go -go-package bpf -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -mcpu=v3 -Wall -Werror" Probe host_probe.c -- -I headers
