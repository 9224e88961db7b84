//! Whose hands a password could fall into that is sent to a Unix socket.

use std::fs::{Permissions, create_dir, rename, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use fdbroker_host::server_socket;
use fdbroker_policy::Uid;
use rustix::fs::{XattrFlags, setxattr};

/// System accounts without a name: the group of each has the same number.
const SERVER: u32 = 641;
const OTHER_SERVER: u32 = 642;
const ALICE: u32 = 70_001;
const BOB: u32 = 70_009;

/// Directories of a test.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("the test may make it"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn directory(&self, name: &str, mode: u32) -> &Self {
        create_dir(self.at(name)).expect("the test may make it");
        self.with_mode(name, mode)
    }

    fn with_mode(&self, name: &str, mode: u32) -> &Self {
        set_permissions(self.at(name), Permissions::from_mode(mode)).expect("the test may make it");
        self
    }

    fn link(&self, to: &str, name: &str) -> &Self {
        symlink(self.at(to), self.at(name)).expect("the test may make it");
        self
    }

    fn give(&self, name: &str, uid: u32, gid: u32) -> &Self {
        chown(self.at(name), Some(uid), Some(gid)).expect("the test may make it");
        self
    }

    fn socket(&self, name: &str) -> &Self {
        drop(UnixListener::bind(self.at(name)).expect("the test may make it"));
        self
    }

    fn fault(&self, socket: &str) -> Option<String> {
        let own = Uid(rustix::process::geteuid().as_raw());
        server_socket(&self.at(socket), own).err().map(|fault| fault.to_string())
    }

    #[track_caller]
    fn refuses(&self, socket: &str, begin: &str, place: &str, end: &str) {
        let said = self.fault(socket).unwrap_or_default();
        let expected = format!("{begin}\"{}\"{end}", self.at(place).display());
        assert!(said.contains(&expected), "{said:?} has no {expected:?}");
    }

    #[track_caller]
    fn accepts(&self, socket: &str) {
        assert_eq!(self.fault(socket), None);
    }
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can make directories of others");
    }
    is_root
}

/// Lets one more write: `tag` 2 for a user, 8 for a group.
fn let_write(directory: &Path, tag: u16, id: u32) -> bool {
    let mut list = 2_u32.to_le_bytes().to_vec();
    let mut entries =
        vec![(1_u16, 7_u16, u32::MAX), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    entries.push((tag, 7, id));
    entries.sort_unstable();
    for (tag, permits, id) in entries {
        list.extend(tag.to_le_bytes().into_iter().chain(permits.to_le_bytes()));
        list.extend(id.to_le_bytes());
    }
    let set = setxattr(directory, "system.posix_acl_access", &list, XattrFlags::empty());
    if let Err(errno) = set {
        println!("skipped: no access control list could be set: {errno}");
    }
    set.is_ok()
}

#[test]
fn a_directory_that_any_user_may_write_is_found() {
    for (first, second, found) in [
        (0o755, 0o755, None),
        (0o1777, 0o755, None),
        (0o755, 0o1777, Some("first/second")),
        (0o777, 0o755, Some("first")),
    ] {
        let site = Site::new();
        site.directory("first", first).directory("first/second", second);
        for _ in ["without a socket", "with one"] {
            match found {
                Some(found) => site.refuses("first/second/sock", "any user may write ", found, ""),
                None => site.accepts("first/second/sock"),
            }
            let _ = UnixListener::bind(site.at("first/second/sock"));
        }
    }
    let site = Site::new();
    site.directory("first", 0o1777).refuses(
        "first/missing/sock",
        "any user may write ",
        "first",
        "",
    );
}

#[test]
fn an_entry_of_an_access_control_list_is_found() {
    let own = rustix::process::geteuid().as_raw();
    for (tag, id, begin) in
        [(2, ALICE, "user 70001 may write "), (8, BOB, "the group 70009 may write ")]
    {
        let site = Site::new();
        site.directory("run", 0o755).socket("run/sock");
        if !let_write(&site.at("run"), tag, id) {
            return;
        }
        site.refuses("run/sock", begin, "run", "");
        assert!(let_write(&site.at("run"), 2, own));
        site.accepts("run/sock");
    }
}

#[test]
fn a_socket_that_is_a_link_is_judged_where_it_leads() {
    let site = Site::new();
    site.directory("link", 0o755).directory("world", 0o777).socket("world/sock");
    site.link("world/sock", "link/sock");
    site.refuses("link/sock", "any user may write ", "world", "");
    site.with_mode("world", 0o755).accepts("link/sock");
}

#[test]
fn every_directory_of_a_chain_of_links_is_judged() {
    let site = Site::new();
    site.directory("chain", 0o755).directory("world", 0o777).directory("safe", 0o755);
    site.link("safe", "world/l").link("world/l", "chain/d").socket("safe/sock");
    site.refuses("chain/d/sock", "any user may write ", "world", "");
    site.with_mode("world", 0o1777).accepts("chain/d/sock");
    site.link("chain/loop", "chain/loop");
    site.refuses("chain/loop/sock", "", "chain/loop", " cannot be looked at");
}

#[test]
fn a_link_of_another_user_is_found() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.directory("open", 0o1777).directory("safe", 0o755).socket("safe/sock");
    site.link("safe", "open/l").accepts("open/l/sock");
    lchown(site.at("open/l"), Some(ALICE), Some(ALICE)).unwrap();
    site.refuses("open/l/sock", "", "open/l", " belongs to user 70001");
}

#[test]
fn an_ordinary_user_makes_no_directory_its_own_by_another_socket() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.directory("run", 0o755).give("run", ALICE, ALICE);
    site.refuses("run/sock", "", "run", " belongs to user 70001");
    site.socket("run/sock").give("run/sock", BOB, BOB);
    site.refuses("run/sock", "", "run", " belongs to user 70001");
    rename(site.at("run/sock"), site.at("run/old")).unwrap();
    site.socket("run/sock").give("run/sock", ALICE, ALICE);
    site.refuses("run/sock", "", "run", " belongs to user 70001");
}

#[test]
fn a_system_account_keeps_its_socket_in_its_own_directory() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.directory("run", 0o2775).socket("run/sock");
    // The directory's and the socket's owner and group.
    for (directory, socket, fault) in [
        ([SERVER, SERVER], [SERVER, SERVER], None),
        ([SERVER, SERVER], [SERVER, BOB], None),
        ([0, SERVER], [SERVER, BOB], None),
        ([0, 0], [BOB, BOB], None),
        ([OTHER_SERVER, SERVER], [SERVER, SERVER], Some(" belongs to user 642")),
        ([SERVER, BOB], [SERVER, BOB], Some("the group 70009 may write ")),
        ([0, BOB], [BOB, BOB], Some("the group 70009 may write ")),
        ([SERVER, SERVER], [BOB, SERVER], Some("the group 641 may write ")),
    ] {
        site.give("run", directory[0], directory[1]).with_mode("run", 0o2775);
        site.give("run/sock", socket[0], socket[1]);
        let said = site.fault("run/sock").unwrap_or_default();
        let is_as_expected = fault.map_or(said.is_empty(), |fault| said.contains(fault));
        assert!(is_as_expected, "{directory:?} {socket:?}: {said:?}");
    }
}
