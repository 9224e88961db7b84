//! The names of the Linux capabilities, as a resource may ask for them.

/// Devices whose open(2) asks for a capability beside the file mode: as they are called, their numbers, and the capability.
pub const GUARDED_DEVICES: [(&str, (u32, u32), &str); 4] = [
    ("/dev/kmsg", (1, 11), "syslog"),
    ("/dev/mem", (1, 1), "sys_rawio"),
    ("/dev/port", (1, 4), "sys_rawio"),
    ("/dev/snapshot", (10, 231), "sys_admin"),
];

/// What root's broker keeps in any case.
pub(crate) const ALWAYS_KEPT: [&str; 5] = ["setuid", "setgid", "setpcap", "kill", "dac_override"];

/// Lower case, without `cap_`, in the order of their numbers from 0: linux/capability.h of Linux 6.18.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];
