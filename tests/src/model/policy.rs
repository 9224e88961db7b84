//! Random policies: as text, and as what each rule comes to.

use super::Random;
use crate::Place;

/// The tags that every policy declares: name, number, what a deposit may bring, and whether it is
/// serial.
pub const TAGS: [(&str, i16, &str, bool); 3] = [
    ("alpha", 1, r#"["none", "file"]"#, false),
    ("beta", 2, r#"["none"]"#, false),
    ("gamma", 3, r#"["none", "file"]"#, true),
];
/// A tag that none declares.
pub const UNDECLARED: i16 = 4;
/// Slots are asked of from 0 to this, so that they meet.
pub const INDICES: i32 = 8;
/// The slot that the broker fills itself, with a file.
pub const RESOURCE: Place = (1, 0);

/// Who may operate the broker.
pub const OPERATOR: u32 = 0;

/// The rights that a rule may speak of, but for those to the broker itself.
const RIGHTS: [&str; 7] = ["get", "add", "del", "tag", "claim", "replace", "list"];

/// Who asks.
#[derive(Clone, Debug)]
pub struct Who {
    /// The user.
    pub uid: u32,
    /// The groups, primary or supplementary.
    pub groups: Vec<u32>,
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    allow: Vec<&'static str>,
    deny: Vec<&'static str>,
    slots: Vec<Pattern>,
    users: Vec<u32>,
    groups: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Everything,
    Whole(i16),
    Range(i16, i32, i32),
    Resource,
}

impl Policy {
    /// Any policy, about these users and groups.
    pub fn random(random: &mut Random, users: &[u32], groups: &[u32]) -> Self {
        let count = 1 + random.below(8);
        let mut rules: Vec<_> = (0..count).map(|_| Rule::random(random, users, groups)).collect();
        // Mostly much is allowed to begin with: otherwise little happens.
        if random.one_of(3, 4) {
            let allow = random.some(&RIGHTS, 7, 8);
            let allow = if allow.is_empty() { vec!["*"] } else { allow };
            let (deny, users, groups) = (Vec::new(), Vec::new(), Vec::new());
            rules.push(Rule { allow, deny, slots: vec![Pattern::Everything], users, groups });
        }
        Self(rules)
    }

    /// What stands in the file, behind `[broker]`; the resource is the file at `path`. One more user,
    /// whom the model does not know, may operate the broker.
    pub fn text(&self, path: &str) -> String {
        let tags = TAGS.map(|(name, id, accept, serial)| {
            format!("[tags.{name}]\nid = {id}\naccept = {accept}\nserial = {serial}\n")
        });
        let resource = format!("[resources.r0]\nslot = \"alpha/0\"\nfile = \"{path}\"\n");
        let rules = self.0.iter().enumerate().map(|(number, rule)| rule.text(number));
        let operator =
            format!("[[rules]]\nid = \"operator\"\nallow = [\"operate\"]\nuser = {OPERATOR}\n");
        tags.into_iter().chain([resource, operator]).chain(rules).collect()
    }

    /// Whether somebody may do something to a slot.
    pub fn allows(&self, who: &Who, right: &str, place: Place) -> bool {
        self.weigh(who, right, place.0, Some(place.1))
    }

    /// Whether somebody may do something to a tag as a whole.
    pub fn allows_tag(&self, who: &Who, right: &str, tag: i16) -> bool {
        self.weigh(who, right, tag, None)
    }

    /// Whether somebody has any right to a slot, or to a tag as a whole.
    pub fn allows_any(&self, who: &Who, tag: i16, index: Option<i32>) -> bool {
        RIGHTS.iter().any(|right| self.weigh(who, right, tag, index))
    }

    fn weigh(&self, who: &Who, right: &str, tag: i16, index: Option<i32>) -> bool {
        // These two count of whole tags.
        let index = index.filter(|_| !["tag", "claim"].contains(&right));
        let declared = TAGS.iter().any(|(_, id, ..)| *id == tag);
        let counts: Vec<&Rule> =
            self.0.iter().filter(|rule| rule.concerns(who) && rule.covers(tag, index)).collect();
        let names = |rights: &[&str]| rights.contains(&right) || rights.contains(&"*");
        let denied = counts.iter().any(|rule| names(&rule.deny));
        // Nobody changes the slot of the resource.
        let kept = index.is_some_and(|index| (tag, index) == RESOURCE)
            && ["add", "del", "replace"].contains(&right);
        declared && !denied && !kept && counts.iter().any(|rule| names(&rule.allow))
    }
}

impl Rule {
    fn random(random: &mut Random, users: &[u32], groups: &[u32]) -> Self {
        let mut allow = random.some(&RIGHTS, 1, 3);
        let deny = if random.one_of(1, 3) { random.some(&RIGHTS, 1, 6) } else { Vec::new() };
        if allow.is_empty() && deny.is_empty() {
            allow.push("*");
        }
        let count = 1 + random.below(3);
        let mut slots: Vec<_> = (0..count).map(|_| Pattern::random(random)).collect();
        // A rule about a whole tag must cover one.
        if allow.iter().chain(&deny).any(|right| ["tag", "claim"].contains(right)) {
            slots.push(Pattern::Whole(random.pick(&TAGS).1));
        }
        let users = if random.one_of(1, 2) { random.some(users, 1, 2) } else { Vec::new() };
        let groups = if random.one_of(1, 4) { random.some(groups, 1, 2) } else { Vec::new() };
        Self { allow, deny, slots, users, groups }
    }

    fn text(&self, number: usize) -> String {
        let mut text = format!("[[rules]]\nid = \"rule {number}\"\n");
        for (key, rights) in [("allow", &self.allow), ("deny", &self.deny)] {
            if !rights.is_empty() {
                text += &format!("{key} = {rights:?}\n");
            }
        }
        let slots: Vec<_> = self.slots.iter().map(Pattern::text).collect();
        text += &format!("slots = {slots:?}\n");
        for (key, ids) in [("user", &self.users), ("group", &self.groups)] {
            if !ids.is_empty() {
                text += &format!("{key} = {ids:?}\n");
            }
        }
        if self.users.is_empty() && self.groups.is_empty() {
            text += "anyone = true\n";
        }
        text
    }

    fn concerns(&self, who: &Who) -> bool {
        let user = self.users.is_empty() || self.users.contains(&who.uid);
        let group = self.groups.is_empty() || self.groups.iter().any(|it| who.groups.contains(it));
        user && group
    }

    fn covers(&self, tag: i16, index: Option<i32>) -> bool {
        self.slots.iter().any(|pattern| match (*pattern, index) {
            (Pattern::Everything, _) => true,
            (Pattern::Whole(whole), _) => whole == tag,
            (Pattern::Range(of, first, last), Some(index)) => {
                of == tag && (first..=last).contains(&index)
            }
            (Pattern::Resource, Some(index)) => (tag, index) == RESOURCE,
            (Pattern::Range(..) | Pattern::Resource, None) => false,
        })
    }
}

impl Pattern {
    fn random(random: &mut Random) -> Self {
        let tag = random.pick(&TAGS).1;
        match random.below(6) {
            0 => Self::Everything,
            1 => Self::Whole(tag),
            2 => Self::Resource,
            _ => {
                let (one, other) = (random.below(9) as i32, random.below(9) as i32);
                Self::Range(tag, one.min(other), one.max(other))
            }
        }
    }

    fn text(&self) -> String {
        let name = |tag: i16| TAGS.iter().find(|(_, id, ..)| *id == tag).map_or("", |it| it.0);
        match *self {
            Self::Everything => "*".to_owned(),
            Self::Whole(tag) => format!("{}/*", name(tag)),
            Self::Range(tag, first, last) if first == last => format!("{}/{first}", name(tag)),
            Self::Range(tag, first, last) => format!("{}/{first}-{last}", name(tag)),
            Self::Resource => "r0".to_owned(),
        }
    }
}
