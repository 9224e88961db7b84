//! Which unit of the service manager a control group belongs to.

/// The unit that processes of a control group belong to.
///
/// As the service manager itself reads it: the first component that is no slice. What a unit makes of its own part of the
/// tree does not count, so nothing inside `user@1000.service` can pass itself off as `vpn.service`. A path that leads
/// out of what can be seen from here (`..`) says nothing.
#[must_use]
pub fn unit_of_cgroup(path: &str) -> Option<&str> {
    let mut components = path.strip_prefix('/')?.split('/');
    if path.split('/').any(|component| component == "..") {
        return None;
    }
    let first = components.find(|component| !component.is_empty() && !is_slice(component))?;
    let unit = unescaped(first);
    (kind_of_unit(unit).is_some_and(|kind| kind != "slice")).then_some(unit)
}

fn is_slice(component: &str) -> bool {
    let name = unescaped(component);
    kind_of_unit(name) == Some("slice") && !name.contains('@')
}

/// A component that could be taken for a file of the kernel has an underscore in front.
fn unescaped(component: &str) -> &str {
    component.strip_prefix('_').unwrap_or(component)
}

/// The kinds of unit, as systemd.unit(5) lists them.
const KINDS: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// The greatest length of a unit's name.
const LONGEST_UNIT: usize = 255;

/// The kind of a unit, if this is the name of one: plain, or an instance, but no template.
fn kind_of_unit(name: &str) -> Option<&str> {
    let (stem, kind) = name.rsplit_once('.')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let instance = stem.split_once('@');
    let good_instance =
        instance.is_none_or(|(prefix, instance)| !prefix.is_empty() && !instance.is_empty());
    let good = !stem.is_empty() && stem.bytes().all(allowed) && good_instance;
    (good && name.len() <= LONGEST_UNIT && KINDS.contains(&kind)).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_in_a_units_control_group_is_in_the_unit() {
        for (path, unit) in [
            ("/system.slice/vpn.service", "vpn.service"),
            ("/system.slice/vpn.service/", "vpn.service"),
            ("/system.slice/vpn.service/workers/1", "vpn.service"),
            ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
            ("/init.scope", "init.scope"),
            ("/vpn.service", "vpn.service"),
            ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
            (
                "/machine.slice/systemd-nspawn@web.service/payload/system.slice/vpn.service",
                "systemd-nspawn@web.service",
            ),
            ("/system.slice/docker-0123456789abcdef.scope", "docker-0123456789abcdef.scope"),
            ("/system.slice/dev-hugepages.mount", "dev-hugepages.mount"),
            ("/system.slice/a\\x2db.service", "a\\x2db.service"),
            ("/system.slice/_tasks.service", "tasks.service"),
            ("/_cpu.slice/_vpn.service", "vpn.service"),
            ("/system.slice/app@a@b.service", "app@a@b.service"),
        ] {
            assert_eq!(unit_of_cgroup(path), Some(unit), "{path}");
        }
    }

    #[test]
    fn nothing_inside_a_unit_can_pass_itself_off_as_another() {
        let user = "/user.slice/user-1000.slice/user@1000.service";
        for inner in
            ["app.slice/vpn.service", "vpn.service", "system.slice/vpn.service", "init.scope"]
        {
            assert_eq!(unit_of_cgroup(&format!("{user}/{inner}")), Some("user@1000.service"));
        }
    }

    #[test]
    fn a_control_group_that_is_no_units_has_none() {
        for path in [
            "",
            "/",
            "vpn.service",
            "system.slice/vpn.service",
            "/system.slice",
            "/a.slice/b.slice",
            "/docker/0123456789abcdef",
            "/docker/vpn.service",
            "/system.slice/x/vpn.service",
            "/system.slice/.service",
            "/system.slice/vpn.",
            "/system.slice/vpn.servic",
            "/system.slice/app@.service",
            "/system.slice/@1.service",
            "/system.slice/v pn.service",
            "/system.slice/vpn.service (deleted)",
            "/system.slice/vün.service",
            "/a@b.slice/vpn.service",
            "/.slice/vpn.service",
            "/__vpn service/x.service",
        ] {
            assert_eq!(unit_of_cgroup(path), None, "{path}");
        }
        assert_eq!(
            unit_of_cgroup(&format!("/{}.service", "x".repeat(247))).map(str::len),
            Some(255)
        );
        assert_eq!(unit_of_cgroup(&format!("/{}.service", "x".repeat(248))), None);
    }

    #[test]
    fn a_path_from_outside_this_namespace_says_nothing() {
        for path in [
            "/../vpn.service",
            "/../../system.slice/vpn.service",
            "/system.slice/../vpn.service",
            "/vpn.service/..",
        ] {
            assert_eq!(unit_of_cgroup(path), None, "{path}");
        }
    }
}
