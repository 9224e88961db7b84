//! Who may have written a policy file, tried out with real files, links, modes and owners.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use fdbroker_host::{MAX_POLICY_BYTES, PolicyFileError, load_policy, policy_files, read_policy};
use fdbroker_policy::{SourceText, Uid};
use tempfile::TempDir;

const STRANGER: u32 = 4242;

/// A directory that only the tester can write, with a policy file in it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().expect("a directory") };
        place.write("policy.toml", "version = 1\n");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn policy(&self) -> PathBuf {
        self.path("policy.toml")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("written");
        self.mode(name, 0o644);
    }

    fn make_directory(&self, name: &str, mode: u32) {
        fs::create_dir(self.path(name)).expect("made");
        self.mode(name, mode);
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).expect("changed");
    }
}

fn me() -> Uid {
    Uid(rustix::process::geteuid().as_raw())
}

/// Reads a policy that has no drop-ins.
fn read(path: &Path) -> Result<String, PolicyFileError> {
    let mut sources = read_policy(path, &[Uid::ROOT, me()])?;
    assert_eq!(sources.len(), 1);
    Ok(sources.remove(0).text)
}

fn is_root() -> bool {
    let root = me() == Uid::ROOT;
    if !root {
        eprintln!("skipped: only root can give files away");
    }
    root
}

/// The messages of a refusal, each with the path that it is about.
fn refusal<T: std::fmt::Debug>(result: Result<T, PolicyFileError>) -> Vec<(PathBuf, String)> {
    match result {
        Err(PolicyFileError::Findings(findings)) => {
            findings.into_iter().map(|finding| (finding.path.into(), finding.message)).collect()
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Asserts that exactly one thing is wrong: with this path, and for this reason.
fn assert_refused<T: std::fmt::Debug>(
    result: Result<T, PolicyFileError>,
    path: &Path,
    reason: &str,
) {
    let found = refusal(result);
    assert!(
        matches!(&found[..], [(about, why)] if about == path && why.contains(reason)),
        "{found:?}"
    );
}

#[test]
fn a_file_that_only_a_trusted_user_can_write_is_read() {
    assert_eq!(read(&Place::new().policy()).unwrap(), "version = 1\n");
}

#[test]
fn a_relative_path_is_found_and_its_parents_are_judged_too() {
    let place = Place::new();
    let up = "../".repeat(std::env::current_dir().unwrap().components().count());
    let relative = format!("{up}{}", place.policy().strip_prefix("/").unwrap().display());
    let found = refusal(read_policy(Path::new(&relative), &[Uid(STRANGER)]));
    assert!(found.iter().any(|(path, _)| path == Path::new("/")), "{found:?}");
    assert!(found.iter().any(|(path, _)| *path == place.policy()), "{found:?}");
}

#[test]
fn a_file_that_its_group_or_others_can_write_is_refused() {
    let place = Place::new();
    for (mode, who) in
        [(0o664, "its group"), (0o646, "everybody"), (0o666, "its group and everybody else")]
    {
        place.mode("policy.toml", mode);
        assert_refused(read(&place.policy()), &place.policy(), &format!("writable by {who} "));
    }
}

#[test]
fn a_directory_above_that_others_can_write_is_refused() {
    let place = Place::new();
    place.make_directory("open", 0o777);
    place.make_directory("open/etc", 0o755);
    place.write("open/etc/policy.toml", "version = 1\n");
    assert_refused(
        read(&place.path("open/etc/policy.toml")),
        &place.path("open"),
        "everybody else",
    );
}

#[test]
fn a_sticky_directory_above_is_fine_for_what_a_trusted_user_owns() {
    let place = Place::new();
    place.make_directory("tmp", 0o1777);
    place.write("tmp/policy.toml", "version = 1\n");
    assert!(read(&place.path("tmp/policy.toml")).is_ok());
}

#[test]
fn a_strangers_file_in_a_sticky_directory_is_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place.make_directory("tmp", 0o1777);
    place.write("tmp/policy.toml", "version = 1\n");
    let path = place.path("tmp/policy.toml");
    chown(&path, Some(STRANGER), None).unwrap();
    assert_refused(read(&path), &path, "belongs to user 4242");
}

#[test]
fn a_strangers_file_directory_or_link_is_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place.make_directory("etc", 0o755);
    place.write("etc/policy.toml", "version = 1\n");
    let (directory, path) = (place.path("etc"), place.path("etc/policy.toml"));
    chown(&path, Some(STRANGER), None).unwrap();
    assert_refused(read(&path), &path, "this file belongs to user 4242");
    chown(&path, Some(0), None).unwrap();
    chown(&directory, Some(STRANGER), None).unwrap();
    assert_refused(read(&path), &directory, "this directory belongs to user 4242");
    let link = place.path("link");
    symlink("policy.toml", &link).unwrap();
    lchown(&link, Some(STRANGER), None).unwrap();
    assert_refused(read(&link), &link, "this symbolic link belongs to user 4242");
}

#[test]
fn a_user_that_is_trusted_by_number_may_own_everything() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    chown(place.policy(), Some(STRANGER), None).unwrap();
    assert!(read_policy(&place.policy(), &[Uid::ROOT, Uid(STRANGER)]).is_ok());
}

#[test]
fn a_link_is_followed_and_both_its_own_directory_and_that_of_its_target_are_judged() {
    let place = Place::new();
    for directory in ["links", "targets"] {
        place.make_directory(directory, 0o755);
    }
    place.write("targets/policy.toml", "version = 1\n");
    let link = place.path("links/policy.toml");
    symlink("../targets/policy.toml", &link).unwrap();
    assert_eq!(read(&link).unwrap(), "version = 1\n");
    place.mode("links", 0o777);
    assert_refused(read(&link), &place.path("links"), "everybody else");
    place.mode("links", 0o755);
    place.mode("targets", 0o775);
    assert_refused(read(&link), &place.path("targets"), "its group");
}

#[test]
fn an_absolute_link_in_the_middle_of_the_path_is_judged_as_well() {
    let place = Place::new();
    place.make_directory("real", 0o757);
    place.write("real/policy.toml", "version = 1\n");
    symlink(place.path("real"), place.path("alias")).unwrap();
    assert_refused(read(&place.path("alias/policy.toml")), &place.path("real"), "everybody");
}

#[test]
fn links_in_a_circle_end_in_an_error() {
    let place = Place::new();
    symlink("b", place.path("a")).unwrap();
    symlink("a", place.path("b")).unwrap();
    assert!(matches!(read(&place.path("a")), Err(PolicyFileError::Unreadable { .. })));
}

#[test]
fn a_missing_file_or_directory_is_told_from_an_unreadable_one() {
    let place = Place::new();
    for name in ["absent.toml", "absent/policy.toml"] {
        let path = place.path(name);
        assert!(matches!(read(&path), Err(PolicyFileError::NotFound(found)) if found == path));
    }
}

#[test]
fn a_link_that_leads_nowhere_is_unreadable_and_not_simply_absent() {
    let place = Place::new();
    symlink("nowhere/policy.toml", place.path("dangling")).unwrap();
    assert!(matches!(read(&place.path("dangling")), Err(PolicyFileError::Unreadable { .. })));
}

#[test]
fn a_file_is_no_directory() {
    let place = Place::new();
    assert!(matches!(read(&place.path("policy.toml/x")), Err(PolicyFileError::Unreadable { .. })));
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let place = Place::new();
    let fifo = place.path("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_refused(read(&fifo), &fifo, "not a regular file");
    let directory = place.directory.path();
    assert_refused(read(directory), directory, "not a regular file");
    assert_refused(read(Path::new("/dev/null")), Path::new("/dev/null"), "not a regular file");
}

#[test]
fn a_file_beyond_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let place = Place::new();
    let size = usize::try_from(MAX_POLICY_BYTES).unwrap();
    place.write("policy.toml", vec![b'\n'; size]);
    assert_eq!(read(&place.policy()).unwrap().len(), size);
    place.write("policy.toml", vec![b'\n'; size + 1]);
    assert_refused(read(&place.policy()), &place.policy(), "larger than 16 MiB");
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let place = Place::new();
    place.write("policy.toml", b"version = 1 # \xff\n");
    assert_refused(read(&place.policy()), &place.policy(), "not UTF-8");
}

#[test]
fn a_good_policy_is_loaded_with_its_text() {
    let place = Place::new();
    let (sources, policy) = load_policy(&place.policy()).unwrap();
    let path = place.policy().into_os_string().into_string().unwrap();
    assert_eq!(sources, [SourceText::new(path, "version = 1\n")]);
    assert_eq!(policy.settings().max_connections, 4096);
}

#[test]
fn what_is_wrong_with_the_file_and_with_its_text_is_reported_in_one_go() {
    let place = Place::new();
    place.make_directory("open", 0o777);
    place.write(
        "open/policy.toml",
        "version = 2\nvresion = 1\n[[rules]]\nuser = 7\n[[rules]]\ndeny = [\"*\"]\nuser = \"no-such-user-here\"\n",
    );
    place.mode("open/policy.toml", 0o666);
    let found = refusal(load_policy(&place.path("open/policy.toml")));
    let expected = [
        "directory is writable",
        "file is writable",
        "not supported",
        "vresion",
        "neither allows",
        "no-such-user",
    ];
    for part in expected {
        assert!(found.iter().any(|(_, message)| message.contains(part)), "{part}: {found:?}");
    }
}

#[test]
fn a_report_names_the_command_that_mends_the_mode() {
    let place = Place::new();
    place.mode("policy.toml", 0o666);
    let report = read(&place.policy()).unwrap_err().to_string();
    assert!(
        report.contains(&format!("= help: chmod go-w {}", place.policy().display())),
        "{report}"
    );
}

/// The names of the files that a policy is read from, without their directory.
fn names_of(place: &Place) -> Vec<String> {
    let sources = read_policy(&place.policy(), &[Uid::ROOT, me()]).expect("the sources");
    let listed = policy_files(&place.policy()).expect("the files");
    assert_eq!(
        sources.iter().map(|source| PathBuf::from(&source.path)).collect::<Vec<_>>(),
        listed
    );
    let name = |path: &PathBuf| {
        let name = path.strip_prefix(place.directory.path()).expect("in the directory");
        name.to_str().expect("UTF-8").to_owned()
    };
    listed.iter().map(name).collect()
}

#[test]
fn drop_ins_are_read_in_the_order_of_their_names() {
    let place = Place::new();
    assert_eq!(names_of(&place), ["policy.toml"]);
    place.make_directory("policy.d", 0o755);
    assert_eq!(names_of(&place), ["policy.toml"]);
    for name in
        ["20-b.toml", "10-c.toml", "1.toml", ".hidden.toml", "10-c.toml~", "README", "x.TOML"]
    {
        place.write(&format!("policy.d/{name}"), "version = 1\n");
    }
    place.make_directory("policy.d/sub", 0o755);
    let expected = ["policy.toml", "policy.d/1.toml", "policy.d/10-c.toml", "policy.d/20-b.toml"];
    assert_eq!(names_of(&place), expected);
}

#[test]
fn a_drop_in_and_its_directory_are_judged_as_the_file_is() {
    let place = Place::new();
    place.make_directory("policy.d", 0o755);
    place.write("policy.d/10.toml", "version = 1\n");
    place.mode("policy.d/10.toml", 0o666);
    assert_refused(
        read_policy(&place.policy(), &[Uid::ROOT, me()]),
        &place.path("policy.d/10.toml"),
        "everybody",
    );
    place.mode("policy.d/10.toml", 0o644);
    place.mode("policy.d", 0o777);
    assert_refused(
        read_policy(&place.policy(), &[Uid::ROOT, me()]),
        &place.path("policy.d"),
        "everybody",
    );
    fs::remove_file(place.path("policy.d/10.toml")).unwrap();
    // A user who can write an empty directory can fill it.
    assert_refused(read(&place.policy()), &place.path("policy.d"), "everybody");
}

#[test]
fn a_drop_in_may_be_a_link_to_what_nobody_untrusted_can_write() {
    let place = Place::new();
    place.make_directory("policy.d", 0o755);
    place.make_directory("elsewhere", 0o755);
    place.write("elsewhere/x", "version = 1\n");
    symlink("../elsewhere/x", place.path("policy.d/10.toml")).unwrap();
    assert_eq!(names_of(&place), ["policy.toml", "policy.d/10.toml"]);
    place.mode("elsewhere", 0o777);
    let refused = read_policy(&place.policy(), &[Uid::ROOT, me()]);
    assert_refused(refused, &place.path("elsewhere"), "everybody");
}

#[test]
fn what_should_be_a_drop_in_and_cannot_be_read_is_not_passed_over() {
    let place = Place::new();
    place.make_directory("policy.d", 0o755);
    symlink("nowhere", place.path("policy.d/10.toml")).unwrap();
    assert!(matches!(read(&place.policy()), Err(PolicyFileError::Unreadable { .. })));
    fs::remove_file(place.path("policy.d/10.toml")).unwrap();
    place.make_directory("policy.d/10.toml", 0o755);
    assert_refused(read(&place.policy()), &place.path("policy.d/10.toml"), "not a regular file");
    fs::remove_dir(place.path("policy.d/10.toml")).unwrap();
    fs::remove_dir(place.path("policy.d")).unwrap();
    place.write("policy.d", "version = 1\n");
    assert!(matches!(read(&place.policy()), Err(PolicyFileError::Unreadable { .. })));
}

#[test]
fn drop_ins_without_a_main_file_are_no_absent_policy() {
    let place = Place::new();
    place.make_directory("policy.d", 0o755);
    fs::remove_file(place.policy()).unwrap();
    assert!(matches!(read(&place.policy()), Err(PolicyFileError::NotFound(_))));
    place.write("policy.d/10.toml", "version = 1\n");
    assert!(matches!(read(&place.policy()), Err(PolicyFileError::Unreadable { .. })));
}

#[test]
fn the_limit_counts_all_files_together() {
    let place = Place::new();
    place.make_directory("policy.d", 0o755);
    let size = usize::try_from(MAX_POLICY_BYTES).unwrap();
    place.write("policy.toml", vec![b'\n'; size - 1]);
    place.write("policy.d/10.toml", "\n");
    assert_eq!(names_of(&place).len(), 2);
    place.write("policy.d/10.toml", "\n\n");
    assert_refused(read(&place.policy()), &place.path("policy.d/10.toml"), "larger than 16 MiB");
}

#[test]
fn a_drop_in_is_loaded_with_the_main_file_and_its_findings_name_it() {
    let place = Place::new();
    place.make_directory("policy.d", 0o755);
    place.write("policy.toml", "version = 1\n[tags.a]\nid = 1\n");
    let rule = "version = 1\n[[rules]]\nallow = [\"get\"]\nslots = [\"a/*\"]\nuser = 0\n";
    place.write("policy.d/10.toml", rule);
    assert_eq!(load_policy(&place.policy()).unwrap().1.rule_count(), 1);
    place.write("policy.d/10.toml", rule.replace("a/*", "b/*"));
    assert_refused(load_policy(&place.policy()), &place.path("policy.d/10.toml"), "no tag");
}
