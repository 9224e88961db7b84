//! What is built and installed, and what the pages say of it.

use super::*;

fn defined(options: &[&str], file: &Path) -> Vec<String> {
    let said = succeed(Command::new("nm").args(options).arg("--defined-only").arg(file));
    let words = said.lines().filter_map(|line| line.rsplit_once(' '));
    words.map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn the_libraries_show_the_functions_of_the_header_and_nothing_else() {
    if !there_is("nm", "what the C libraries export") {
        return;
    }
    let lib = installed().prefix.join("lib");
    assert_eq!(defined(&["--dynamic"], &lib.join("libescrow.so")), FUNCTIONS);
    assert_eq!(defined(&["--extern-only"], &lib.join("libescrow.a")), FUNCTIONS);
    // The archive as cargo makes it has Rust's own beside them, but no other of this name.
    let made = escrow_library().join("libescrow.a");
    let mut ours = defined(&["--extern-only", "--quiet"], &made);
    ours.retain(|name| name.starts_with("escrow"));
    ours.sort();
    assert_eq!(ours, FUNCTIONS);
}

#[test]
fn the_header_has_just_these_functions_and_is_one_for_cpp_too() {
    let header = fs::read_to_string(installed().prefix.join("include/escrow.h")).unwrap();
    for name in FUNCTIONS {
        let declared = header.lines().filter(|line| line.contains(&format!(" {name}(")));
        assert!(declared.filter(|line| line.ends_with(");")).count() == 1, "{name}");
    }
    let directory = Directory::new();
    let compile = |text: &str| {
        let source = directory.file("t.cpp", text, 0o644);
        let mut command = Command::new("cc");
        command.args([
            "-x",
            "c++",
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-fsyntax-only",
            "-I",
        ]);
        command.arg(installed().prefix.join("include")).arg(source).output().unwrap()
    };
    if !compile("int main() { return 0; }").status.success() {
        return skip("the C header in C++", "there is no compiler for C++");
    }
    let output = compile("#include <escrow.h>\nint main() { escrow_fini(nullptr); }");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pkg_config_says_how_to_build_with_it() {
    if !there_is("pkg-config", "the pkg-config file") {
        return;
    }
    let prefix = &installed().prefix;
    let ask = |options: &[&str]| {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(options).arg("escrow");
        succeed(&mut command)
    };
    assert_eq!(ask(&["--modversion"]).trim(), env!("CARGO_PKG_VERSION"));
    let directory = Directory::new();
    let built = directory.join("capi");
    let mut command = Command::new("cc");
    command.arg(below("c/capi.c")).arg("-pthread").arg("-o").arg(&built);
    succeed(command.args(ask(&["--cflags", "--libs"]).split_whitespace()));
    let daemon = Daemon::open().start();
    let mut run = Command::new(built);
    run.env("LD_LIBRARY_PATH", prefix.join("lib"));
    succeed(run.arg("errors").arg(daemon.socket()).arg("1"));
}

#[test]
fn it_is_installed_below_another_root_for_a_package() {
    let root = Directory::new();
    let mut install = Command::new("bash");
    install.arg(below("../client/capi/install")).arg("/usr").env("BUILT", escrow_library());
    succeed(install.env("DESTDIR", root.path()));
    assert!(root.join("usr/lib/libescrow.so.0").exists());
    let file = fs::read_to_string(root.join("usr/lib/pkgconfig/escrow.pc")).unwrap();
    assert!(file.starts_with("prefix=/usr\n"), "{file}");
}

/// In a mount namespace, with an /etc and a /usr/local of its own.
#[test]
fn the_dynamic_linker_knows_the_library_once_it_is_installed() {
    let what = "the C library in the dynamic linker's cache";
    if !fdbroker_tests::needs_root(what) || !there_is("unshare", what) {
        return;
    }
    let script = "mount -t tmpfs tmpfs /usr/local && mkdir /usr/local/lib /usr/local/etc || exit 77
        cp -a /etc/ld.so.c* /usr/local/etc && mount --bind /usr/local/etc /etc || exit 77
        bash \"$0\" /usr/local && PATH=$PATH:/sbin ldconfig -p | grep -q /usr/local/lib/libescrow.so.0";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.arg(below("../client/capi/install")).env("BUILT", escrow_library());
    let output = command.env_remove("DESTDIR").output().unwrap();
    if output.status.code() == Some(77) {
        return skip(what, "nothing can be mounted here");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The blocks of docs/c.md that are marked with this word.
fn blocks(mark: &str) -> Vec<String> {
    let page = fs::read_to_string(below("../docs/c.md")).unwrap();
    let opening = format!("```{mark}\n");
    let parts = page.split(&opening).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_installation_in_the_documentation_works() {
    let root = Directory::new();
    let mut shell = Command::new("bash");
    // What it builds is built already, in the profile of this test; and nobody becomes root.
    shell.arg("-euc").arg(format!("cargo() {{ :; }}\nsudo() {{ \"$@\"; }}\n{}", blocks("sh")[0]));
    shell.env("BUILT", escrow_library()).env("DESTDIR", root.path()).current_dir(below(".."));
    succeed(&mut shell);
    assert!(root.join("usr/local/include/escrow.h").exists());
}

#[test]
fn the_program_in_the_documentation_prints_what_it_says_there() {
    let what = "the example in docs/c.md";
    if !there_is("pkg-config", what) {
        return;
    }
    let Some(place) = Place::new(what) else { return };
    place.directory.file("keep.c", &blocks("c")[0], 0o644);
    let mut shell = Command::new("bash");
    shell.arg("-euc").arg(&blocks("sh")[1]);
    let lib = installed().prefix.join("lib");
    shell.env("PKG_CONFIG_PATH", lib.join("pkgconfig")).env("LD_LIBRARY_PATH", lib);
    assert_eq!(succeed(place.prepare(&mut shell)), blocks("text")[0]);
    assert_eq!((blocks("c").len(), blocks("sh").len(), blocks("text").len()), (1, 2, 1));
}
