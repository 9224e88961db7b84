//! `make install` puts each file in its place, and `make uninstall` leaves none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use fdbroker_tests::package::{built, checkout, is_there, making_a_package, succeed};
use fdbroker_tests::{Directory, is_root, skip, systemd::ServiceManager};

/// What is installed, but for the pages, below a prefix.
const FILES: [&str; 30] = [
    "/etc/fdbroker/policy.toml",
    "/etc/logrotate.d/fdbroker",
    "/etc/needrestart/conf.d/fdbroker.conf",
    "PREFIX/bin/fdbroker",
    "PREFIX/bin/fdbrokerd",
    "PREFIX/include/escrow.h",
    "PREFIX/lib/libescrow.a",
    "PREFIX/lib/libescrow.so",
    "PREFIX/lib/libescrow.so.0",
    "PREFIX/lib/pkgconfig/escrow.pc",
    "PREFIX/lib/python3/dist-packages/fdbroker.py",
    "PREFIX/lib/systemd/catalog/fdbroker.catalog",
    "PREFIX/lib/systemd/system/fdbrokerd.service",
    "PREFIX/lib/systemd/system/fdbrokerd.socket",
    "PREFIX/lib/sysusers.d/fdbroker.conf",
    "PREFIX/lib/tmpfiles.d/fdbroker.conf",
    "PREFIX/share/bash-completion/completions/fdbroker",
    "PREFIX/share/bash-completion/completions/fdbrokerd",
    "PREFIX/share/doc/fdbroker/CHANGELOG.md",
    "PREFIX/share/doc/fdbroker/LICENSE-APACHE",
    "PREFIX/share/doc/fdbroker/LICENSE-MIT",
    "PREFIX/share/doc/fdbroker/README.md",
    "PREFIX/share/doc/fdbroker/SECURITY.md",
    "PREFIX/share/fish/vendor_completions.d/fdbroker.fish",
    "PREFIX/share/fish/vendor_completions.d/fdbrokerd.fish",
    "PREFIX/share/man/man1/fdbroker.1",
    "PREFIX/share/man/man5/fdbroker-policy.5",
    "PREFIX/share/man/man8/fdbrokerd.8",
    "PREFIX/share/zsh/site-functions/_fdbroker",
    "PREFIX/share/zsh/site-functions/_fdbrokerd",
];

fn files(directory: &Path) -> BTreeSet<String> {
    let found = succeed(Command::new("find").arg(directory).args(["!", "-type", "d"]));
    let below = |line: &str| line.strip_prefix(directory.to_str().unwrap()).map(str::to_owned);
    found.lines().filter_map(below).collect()
}

fn make(what: &str, prefix: &str, directory: &Path) -> String {
    let mut make = Command::new("make");
    make.arg(what).arg(format!("PREFIX={prefix}")).arg(format!("DESTDIR={}", directory.display()));
    make.env("BUILT", built()).env("PYTHONDIR", format!("{prefix}/lib/python3/dist-packages"));
    succeed(make.env_remove("MAKEFLAGS").current_dir(checkout()))
}

/// The pages and the examples for systemd.
fn pages(prefix: &str) -> Vec<String> {
    let names = |directory: &str, part: &str| {
        let entries = fs::read_dir(checkout().join(directory)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let wanted = names.filter(|name| name.contains(part));
        wanted.map(|name| format!("{prefix}/share/doc/fdbroker/{directory}/{name}")).collect()
    };
    let names: [Vec<_>; 2] = [names("docs", ".md"), names("systemd", ".example.")];
    names.concat()
}

#[test]
fn make_install_puts_each_file_in_its_place_and_uninstall_leaves_none() {
    if let Some(missing) = ["make", "ld", "objcopy", "ar"].iter().find(|tool| !is_there(tool)) {
        return skip("make install", &format!("there is no {missing}"));
    }
    for prefix in ["/usr", "/opt/fdbroker"] {
        let directory = Directory::new();
        make("install", prefix, directory.path());
        let named = FILES.iter().map(|file| file.replace("PREFIX", prefix));
        let expected: BTreeSet<_> = named.chain(pages(prefix)).collect();
        assert_eq!(files(directory.path()), expected);

        let unit = directory.join(&format!("{prefix}/lib/systemd/system/fdbrokerd.service")[1..]);
        let unit = fs::read_to_string(unit).unwrap();
        assert!(unit.contains(&format!("\nExecStart={prefix}/bin/fdbrokerd\n")), "{unit}");
        assert!(!unit.contains("/usr/local"), "{unit}");
        let policy = directory.join("etc/fdbroker/policy.toml");

        // A second time, as for an upgrade; a policy that was written stays.
        fs::write(&policy, "version = 1\n").unwrap();
        make("install", prefix, directory.path());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "version = 1\n");
        let said = make("uninstall", prefix, directory.path());
        assert!(said.contains("policy.toml was changed"), "{said}");
        assert_eq!(files(directory.path()), BTreeSet::from([FILES[0].to_owned()]));
        fs::remove_file(&policy).unwrap();
        make("install", prefix, directory.path());
        make("uninstall", prefix, directory.path());
        assert_eq!(files(directory.path()), BTreeSet::new());
        for own in ["etc/fdbroker", &format!("{prefix}/share/doc/fdbroker")[1..]] {
            assert!(!directory.join(own).exists(), "{own} is left");
        }
    }
}

#[test]
fn an_rpm_package_is_made() {
    let what = "the RPM package";
    let tools = ["cargo-generate-rpm", "make", "ld", "objcopy"];
    if let Some(missing) = tools.iter().find(|tool| !is_there(tool)) {
        return skip(what, &format!("there is no {missing}"));
    }
    // As another user, cargo cannot be run.
    if !is_root() {
        return skip(what, "only root makes packages here");
    }
    let _alone = making_a_package();
    let mut make = Command::new("make");
    make.arg("rpm").env("BUILT", built()).env("FAST", "1").env_remove("MAKEFLAGS");
    succeed(make.current_dir(checkout()));
    let mut packages = fs::read_dir(built()).unwrap().map(|entry| entry.unwrap().path());
    let package = packages.find(|path| path.extension() == Some("rpm".as_ref())).unwrap();
    assert!(fs::read(package).unwrap().starts_with(b"\xed\xab\xee\xdb"), "it is no RPM package");
    skip("the installation of the RPM package", "no machine of the tests has RPM");
}

#[test]
fn what_make_install_installs_serves_after_the_lines_of_the_readme() {
    let what = "an installation from the checkout";
    if let Some(missing) = ["make", "ld", "objcopy", "ar"].iter().find(|tool| !is_there(tool)) {
        return skip(what, &format!("there is no {missing}"));
    }
    let manager = match ServiceManager::boot_without_broker() {
        Ok(manager) => manager,
        Err(reason) => return skip(what, &reason),
    };
    make("install", "/usr/local", &manager.path("/"));
    let page = fs::read_to_string(checkout().join("README.md")).unwrap();
    let lines = page.split("sudo make install\n").nth(1).unwrap().split("```").next().unwrap();
    let script = lines.replace("sudo ", "");
    assert!(script.contains("systemctl enable"), "{script}");
    manager.succeed(&["sh", "-ec", &script]);
    let refused = manager.run_as(12345, &["fdbroker", "get", "10/3"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(manager.property("fdbrokerd.service", "ActiveState"), "active");
    manager.succeed(&["systemctl", "reload", "fdbrokerd"]);
    manager.end();
}
