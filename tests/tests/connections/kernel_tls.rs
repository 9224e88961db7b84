//! TLS by the kernel, in a virtual machine: the kernel of this one need not have it.
//!
//! A real Redis server for each cipher, a broker, and a caller without privilege, which speaks plain text.

use std::fs;
use std::path::Path;

use fdbroker_tests::authority::VALID;
use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{Authority, VirtualMachine, skip};

use crate::tls::HERE;

const REDIS: &str = "/usr/bin/redis-server";

/// Each resource, its port, and what its server offers.
const SERVERS: [(&str, u16, &str); 4] = [
    ("aes128", 6391, "--tls-protocols TLSv1.3 --tls-ciphersuites TLS_AES_128_GCM_SHA256"),
    ("aes256", 6392, "--tls-protocols TLSv1.3 --tls-ciphersuites TLS_AES_256_GCM_SHA384"),
    ("chacha20", 6393, "--tls-protocols TLSv1.3 --tls-ciphersuites TLS_CHACHA20_POLY1305_SHA256"),
    ("old", 6394, "--tls-protocols TLSv1.2"),
];

const POLICY: &str = r#"
version = 1
[tags.open]
id = 1
[[rules]]
id = "anyone may use them"
allow = ["get", "list", "operate"]
slots = ["open/*"]
anyone = true
"#;

fn resource(name: &str, port: u16, keys: &str) -> String {
    let auth = "user = \"orders\", password = \"file:/etc/password\"";
    format!(
        "[resources.{name}]\nslot = \"open/{port}\"\nconnect = \"tcp:127.0.0.1:{port}\"\n\
         revocable = true\ntls = {{ ca = \"/etc/ca.pem\"{keys} }}\nauth.redis = {{ {auth} }}\n"
    )
}

fn policy() -> String {
    let with = SERVERS.map(|(name, port, _)| resource(name, port, ", kernel = true"));
    let without = resource("without", 6391, "").replace("open/6391", "open/1");
    format!("{POLICY}{}{without}", with.concat())
}

/// What the script begins with: the servers, and the broker.
fn start() -> String {
    let servers = SERVERS.map(|(_, port, settings)| {
        format!(
            "redis-server --save '' --bind 127.0.0.1 --port 0 --tls-port {port} {settings} \
             --tls-cert-file /etc/server.pem --tls-key-file /etc/server.key \
             --tls-ca-cert-file /etc/ca.pem --tls-auth-clients no \
             --user orders on '>hunter2-geheim' '~*' '+@all' >/dev/null 2>&1 &\n"
        )
    });
    format!(
        "{}export FDBROKER_SOCKET=/run/fdbroker.socket\n\
         fdbrokerd --policy /etc/policy.toml --socket $FDBROKER_SOCKET 2>/run/log &\n",
        servers.concat()
    )
}

/// What the caller does with descriptor 3.
const ASK: &str = r"
printf 'ACL WHOAMI\r\n' >&3
read -r length <&3; read -r name <&3
printf 'SETRANGE big 2999999 x\r\n' >&3
read -r size <&3
printf 'GET big\r\n' >&3
read -r length <&3
echo $1: $name $length $(head -c 3000002 <&3 | wc -c) | tr -d '\r'
printf 'QUIT\r\n' >&3
read -r answer <&3
cat <&3 2>&1 | sed s/^/$1:/
";

const SCRIPT: &str = r#"
relay() { fdbroker get --json $1 | tr -d ' \n' | grep -o '"relay":"[a-z]*"'; }
until [ "$(relay aes128)" ] && [ "$(relay aes256)" ] && [ "$(relay chacha20)" ] && [ "$(relay old)" ]
do usleep 100000; done
echo before: $(relay aes128)
modprobe -a tls gcm ctr ghash_generic chacha20poly1305
for name in aes128 aes256 chacha20 old without; do
    echo $name: $(relay $name)
    su -s /bin/sh -c "fdbroker exec $name -- sh /etc/ask $name" caller
done
fdbroker exec aes256 -- fdbroker leases | sed 's/.* name="\([^ ]*\)" .* relay=\([^ ]*\) .*/lease of \1: \2/'
fdbroker list
cat /run/log
"#;

/// A machine with all of that; `None` where something for it is missing.
fn machine(what: &str) -> Option<VirtualMachine> {
    if !Path::new(REDIS).exists() {
        skip(what, "there is no Redis server (redis-server)");
        return None;
    }
    let modules = ["net/tls", "crypto", "lib/crypto", "arch/x86/crypto"];
    let mut machine = VirtualMachine::new(what, &modules)?;
    let authority = Authority::new(what)?;
    let signed = authority.sign("server", HERE, VALID);
    machine.program(REDIS);
    machine.built(&binaries().daemon, "/usr/bin/fdbrokerd");
    machine.built(&binaries().command, "/usr/bin/fdbroker");
    machine.file("/etc/ca.pem", fs::read(authority.certificate()).unwrap(), 0o644);
    machine.file("/etc/server.pem", fs::read(signed.certificate).unwrap(), 0o644);
    machine.file("/etc/server.key", fs::read(signed.key).unwrap(), 0o600);
    let accounts =
        "root:x:0:0::/root:/bin/sh\nfdbroker:x:900:900::/:/bin/sh\ncaller:x:1000:1000::/:/bin/sh\n";
    machine.file("/etc/passwd", accounts, 0o644);
    machine.file("/etc/group", "root:x:0:\nfdbroker:x:900:\ncaller:x:1000:\n", 0o644);
    machine.file("/etc/password", "hunter2-geheim", 0o600);
    machine.file("/etc/policy.toml", policy(), 0o644);
    machine.file("/etc/ask", ASK, 0o644);
    Some(machine)
}

#[test]
fn the_kernel_encrypts_what_goes_over_a_socket_that_is_handed_over() {
    let Some(machine) = machine("the kernel encrypts what goes over a socket") else { return };
    let said = machine.run(&format!("{}{SCRIPT}", start()));
    let has = |line: &str| assert!(said.lines().any(|found| found == line), "{line}: {said}");
    has("before: \"relay\":\"relayed\"");
    for name in ["aes128", "aes256", "chacha20"] {
        has(&format!("{name}: \"relay\":\"ktls\""));
        // The server's farewell is no data.
        has(&format!("{name}:cat: read error: Input/output error"));
    }
    for name in ["old", "without"] {
        has(&format!("{name}: \"relay\":\"relayed\""));
    }
    for (name, ..) in SERVERS {
        has(&format!("{name}: orders $3000000 3000002"));
    }
    has("lease of aes256: ktls");
    let notes = ["without", "aes128"].map(|name| {
        let line = said.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
        line.and_then(|line| line.split_whitespace().last()).unwrap_or_default()
    });
    assert_eq!(notes, ["resource,relayed", "resource,ktls-or-relayed"], "{said}");
    assert!(!said.contains("geheim"), "{said}");
}
