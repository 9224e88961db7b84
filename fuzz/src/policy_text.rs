//! Texts that look like policies. Of random bytes hardly any is one, so a target of them alone never
//! sees what rules do to each other.

use crate::Input;

/// What a text is put together from. Most are whole lines.
const WORDS: &[&str] = &[
    "[[rules]]\nid = \"a\"\n",
    "[[rules]]\nid = \"b\"\n",
    "[[rules]]\n",
    "allow = [\"get\"]\n",
    "allow = [\"get\", \"add\", \"del\"]\n",
    "allow = [\"*\"]\n",
    "allow = [\"operate\", \"claim\"]\n",
    "deny = [\"get\"]\n",
    "deny = [\"add\", \"tag\"]\n",
    "deny = [\"*\"]\n",
    "slots = [\"*\"]\n",
    "slots = [\"t1/*\"]\n",
    "slots = [\"t1/0-4\", \"t2/1\"]\n",
    "slots = [\"t1/5-2147483647\"]\n",
    "slots = [\"r\"]\n",
    "user = \"vpn\"\n",
    "user = [7, \"vpn\"]\n",
    "user = \"remote\"\n",
    "group = 501\n",
    "group = [0, 17, 34]\n",
    "unit = \"app@*.service\"\n",
    "unit = \"?pp*\"\n",
    "cgroup = \"/a/**\"\n",
    "cgroup = [\"/*/b\", \"/**/c\"]\n",
    "label = \"la*\"\n",
    "label = \"*\"\n",
    "valid_from = 1970-01-01T00:01:00Z\n",
    "valid_until = 1970-01-01T00:03:00Z\n",
    "requests_per_second = 9\n",
    "records_per_second = 9\n",
    "[tags.t1]\nid = 1\n",
    "[tags.t2]\nid = 2\n",
    "[tags.t7]\nid = 7\n",
    "serial = true\n",
    "accept = [\"tcp\", \"none\"]\n",
    "[resources.r]\nslot = \"t1/3\"\n",
    "[resources.s]\nslot = \"t2/0\"\n",
    "device = \"/dev/null\"\n",
    "file = \"/f\"\n",
    "open = \"startup\"\n",
    "access = \"read\"\n",
    "[broker]\n",
    "max_slots_per_uid = 3\n",
    "frame_timeout = \"10s\"\n",
    "audit = \"required\"\n",
    "[[tests]]\n",
    "user = 501\n",
    "right = \"get\"\n",
    "right = \"add\"\n",
    "slot = \"t1/3\"\n",
    "slot = \"t2/0\"\n",
    "expect = \"granted\"\n",
    "expect = \"refused\"\n",
    "at = 1970-01-01T00:02:00Z\n",
    "\u{c}version = 1\n",
];

/// How many words a text has at most: longer ones are slow, and tell nothing more.
const LONGEST: usize = 100;

/// Puts a text together: a byte stands for a word, or else for a character of ASCII.
pub fn policy_text(input: &mut Input<'_>) -> String {
    let mut text = String::from("version = 1\n");
    for byte in input.bytes(LONGEST) {
        match WORDS.get(usize::from(*byte)) {
            Some(word) => text.push_str(word),
            None => text.push(char::from(byte & 0x7f)),
        }
    }
    text
}
