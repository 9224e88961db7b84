//! Users, groups and slots as a person or a program reads them, by the names that a policy has for them.

use fdbroker_policy::{Gid, Policy, Slot, Tag, Uid, Validity};
use fdbroker_policy_tools::{Scope, Subjects};
use serde_json::{Value, json};

/// Whose names to use: those of the first policy that has one.
pub(crate) struct Describer<'p>(pub(crate) Vec<&'p Policy>);

impl<'p> Describer<'p> {
    pub(crate) fn user(&self, uid: Uid) -> String {
        self.user_name(uid).map_or_else(|| uid.to_string(), str::to_owned)
    }

    pub(crate) fn group(&self, gid: Gid) -> String {
        self.group_name(gid).map_or_else(|| gid.to_string(), str::to_owned)
    }

    /// A slot: `web/3`, with its resource if there is one.
    pub(crate) fn slot(&self, slot: Slot) -> String {
        let place = format!("{}/{}", self.tag(slot.tag), slot.index);
        match self.resource(slot) {
            Some(name) => format!("{name} ({place})"),
            None => place,
        }
    }

    pub(crate) fn tag(&self, tag: Tag) -> String {
        self.tag_name(tag).map_or_else(|| tag.to_string(), str::to_owned)
    }

    /// Several parts of what there are rights to.
    pub(crate) fn scopes(&self, scopes: &[Scope]) -> String {
        scopes.iter().map(|scope| self.scope(*scope)).collect::<Vec<_>>().join(", ")
    }

    fn scope(&self, scope: Scope) -> String {
        match scope {
            Scope::Broker => "the broker".to_owned(),
            Scope::Tag(tag) => format!("{} as a whole", self.tag(tag)),
            Scope::Slots { tag, .. } if scope.is_all_slots() => format!("{}/*", self.tag(tag)),
            Scope::Slots { tag, first, last } if first == last => {
                self.slot(Slot { tag, index: first })
            }
            Scope::Slots { tag, first, last } => format!("{}/{first}-{last}", self.tag(tag)),
        }
    }

    /// Whom something concerns, such as `user vpn, unit a.service or b.service`.
    pub(crate) fn subject(&self, who: &Subjects) -> String {
        if who.is_anyone() {
            return "anyone".to_owned();
        }
        let users = who.users.iter().map(|uid| self.user(*uid)).collect();
        let groups = who.groups.iter().map(|any| any.iter().map(|gid| self.group(*gid)).collect());
        let mut parts = vec![("user", users)];
        parts.extend(groups.map(|any| ("group", any)));
        parts.push(("unit", who.units.clone()));
        parts.push(("cgroup", who.cgroups.clone()));
        parts.push(("label", who.labels.clone()));
        let parts = parts.into_iter().filter(|(_, any): &(_, Vec<String>)| !any.is_empty());
        let parts = parts.map(|(noun, any)| format!("{noun} {}", any.join(" or ")));
        parts.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn user_object(&self, uid: Uid) -> Value {
        json!({ "uid": uid.0, "name": self.user_name(uid) })
    }

    pub(crate) fn group_object(&self, gid: Gid) -> Value {
        json!({ "gid": gid.0, "name": self.group_name(gid) })
    }

    /// The members that say which slot it is.
    pub(crate) fn slot_object(&self, slot: Slot) -> Value {
        json!({
            "tag": slot.tag.get(),
            "tag_name": self.tag_name(slot.tag),
            "index": slot.index.get(),
            "resource": self.resource(slot),
        })
    }

    pub(crate) fn tag_object(&self, tag: Tag) -> Value {
        json!({ "tag": tag.get(), "tag_name": self.tag_name(tag) })
    }

    pub(crate) fn scopes_object(&self, scopes: &[Scope]) -> Value {
        scopes.iter().map(|scope| self.scope_object(*scope)).collect()
    }

    fn scope_object(&self, scope: Scope) -> Value {
        match scope {
            Scope::Broker => json!({ "broker": true }),
            Scope::Tag(tag) => self.tag_object(tag),
            Scope::Slots { tag, first, last } => json!({
                "tag": tag.get(),
                "tag_name": self.tag_name(tag),
                "first": first.get(),
                "last": last.get(),
            }),
        }
    }

    /// Whom something concerns; what is not there is no condition.
    pub(crate) fn subject_object(&self, who: &Subjects) -> Value {
        let users: Vec<_> = who.users.iter().map(|uid| self.user_object(*uid)).collect();
        let any =
            |gids: &Vec<Gid>| -> Value { gids.iter().map(|gid| self.group_object(*gid)).collect() };
        let groups: Vec<_> = who.groups.iter().map(any).collect();
        json!({
            "anyone": who.is_anyone(),
            "users": users,
            "groups": groups,
            "units": who.units,
            "cgroups": who.cgroups,
            "labels": who.labels,
        })
    }

    fn user_name(&self, uid: Uid) -> Option<&'p str> {
        self.0.iter().find_map(|policy| policy.user_name(uid))
    }

    fn group_name(&self, gid: Gid) -> Option<&'p str> {
        self.0.iter().find_map(|policy| policy.group_name(gid))
    }

    fn tag_name(&self, tag: Tag) -> Option<&'p str> {
        self.0.iter().find_map(|policy| policy.tag(tag)).map(|tag| tag.name.as_str())
    }

    fn resource(&self, slot: Slot) -> Option<&'p str> {
        let found = self.0.iter().find_map(|policy| policy.resource_at(slot));
        found.map(|(_, resource)| resource.name.as_str())
    }
}

/// When a rule counts, such as `until 2026-12-31T23:00:00Z`; nothing for always.
pub(crate) fn validity(valid: Validity) -> String {
    let from = valid.from.map(|from| format!("from {from}"));
    let until = valid.until.map(|until| format!("until {until}"));
    [from, until].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The same for a program.
pub(crate) fn validity_object(valid: Validity) -> Value {
    json!({
        "valid_from": valid.from.map(|from| from.to_string()),
        "valid_until": valid.until.map(|until| until.to_string()),
    })
}

/// A list of rights.
pub(crate) fn rights(rights: &[fdbroker_policy::Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ")
}

/// The names of rights, for a program.
pub(crate) fn right_names(rights: &[fdbroker_policy::Right]) -> Vec<&'static str> {
    rights.iter().map(|right| right.name()).collect()
}
