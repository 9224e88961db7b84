//! What `diff` says of policies that are known.

use fdbroker_policy_tools::{Alteration, Altered, SettingsDiff};

use super::*;

/// The differences that it makes when one text takes the place of another, in short.
fn differences(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (load_one("old", old).expect("loads"), load_one("new", new).expect("loads"));
    let changes = diff(&old, &new, Moment::new(0, 0)).changes;
    let short = |it: &Change| {
        let sign = if it.gains { '+' } else { '-' };
        let rights: Vec<_> = it.rights.iter().map(Right::to_string).collect();
        let unless: Vec<_> = it.unless.iter().map(|it| it.rule.as_str()).collect();
        let on: Vec<_> = it.on.iter().map(|it| format!("{it:?}")).collect();
        let who = &it.who;
        format!(
            "{sign}{} {} users {:?} groups {:?} units {:?} unless {unless:?}",
            rights.join(","),
            on.join(" "),
            who.users,
            who.groups,
            who.units
        )
    };
    changes.iter().map(short).collect()
}

#[test]
fn the_same_rules_in_another_order_or_with_other_ids_make_no_difference() {
    let renamed = POLICY.replace("admins", "zz admins");
    assert_eq!(differences(POLICY, &renamed), [""; 0]);
}

#[test]
fn a_rule_that_comes_is_a_gain_of_those_whom_it_concerns() {
    let rule = "[[rules]]\nid = \"r\"\nallow = [\"get\", \"add\"]\nslots = [\"web/5-8\", \"web/9\"]\nuser = [7, 8]\n";
    let who = "Slots { tag: Tag(10), first: Index(5), last: Index(9) } users [Uid(7), Uid(8)] groups [] units []";
    // Admins had both; and to get is denied to some units.
    let expected = [
        format!("+get {who} unless [\"admins\", \"not the first ten\"]"),
        format!("+add {who} unless [\"admins\"]"),
    ];
    assert_eq!(differences(POLICY, &format!("{POLICY}{rule}")), expected);
}

#[test]
fn a_denial_takes_only_what_was_held() {
    let rule = "[[rules]]\nid = \"d\"\ndeny = [\"*\"]\nslots = [\"web/*\"]\nuser = 7\n";
    let found = differences(POLICY, &format!("{POLICY}{rule}"));
    assert!(found.iter().all(|line| line.contains("users [Uid(7)] groups [[Gid(33)]]") && line.starts_with('-')), "{found:#?}");
    assert!(found.iter().any(|line| line.starts_with("-tag,claim Tag(Tag(10))")), "{found:#?}");
}

#[test]
fn a_tag_that_goes_takes_its_rights_with_it() {
    let old = "version = 1\n[tags.a]\nid = 1\n[[rules]]\nid = \"r\"\nallow = [\"get\"]\nslots = [\"*\"]\nanyone = true\n";
    let found = differences(old, &old.replace("id = 1\n", "id = 2\n"));
    let all = |tag| {
        format!(
            "get Slots {{ tag: Tag({tag}), first: Index(0), last: Index(2147483647) }} users [] groups [] units [] unless []"
        )
    };
    assert_eq!(found, [format!("-{}", all(1)), format!("+{}", all(2))]);
}

#[test]
fn two_large_policies_are_compared_in_reasonable_time() {
    let text = |more: u32| {
        let mut text = String::from("version = 1\n[tags.web]\nid = 10\n");
        for rule in 0..500 {
            text += &format!(
                "[[rules]]\nallow = [\"get\", \"add\"]\nslots = [\"web/{}-{}\"]\nuser = {}\ngroup = {}\n",
                rule * 10,
                rule * 10 + 20,
                rule + more,
                rule % 7
            );
        }
        text
    };
    let before = std::time::Instant::now();
    assert!(differences(&text(0), &text(1)).len() >= 1000);
    assert!(before.elapsed().as_secs() < 30, "{:?}", before.elapsed());
}

#[test]
fn whom_a_former_allow_was_denied_to_is_not_spared() {
    let old = about_web(&[("allow", "unit = \"a.service\""), ("deny", "group = 60")]);
    let new = about_web(&[("allow", "user = 8")]);
    for (old, new, gains) in [(&old, &new, true), (&new, &old, false)] {
        let (old, new) = (load_one("old", old).unwrap(), load_one("new", new).unwrap());
        let changes = diff(&old, &new, Moment::new(0, 0)).changes;
        let peer = Peer { unit: Some("a.service"), ..Peer::new(Uid(8), Gid(60), &[]) };
        assert!(covering(&changes, &peer, Right::Get, slot(0), gains).is_some(), "{changes:?}");
        let spared = Peer { gid: Gid(61), ..peer };
        assert!(covering(&changes, &spared, Right::Get, slot(0), gains).is_none(), "{changes:?}");
    }
}

#[test]
fn patterns_with_many_stars_are_told_of_vaguely_and_soon() {
    let before = std::time::Instant::now();
    let (letters, digits) = ("*a*b*c*d*e*f*g*h*i*j*", "*1*2*3*4*5*6*7*8*9*0*");
    let (allow, deny) =
        (format!("unit = \"{letters}.service\""), format!("unit = \"{digits}.service\""));
    let all = load_one("all", &about_web(&[("allow", &allow)])).unwrap();
    let fewer = load_one("fewer", &about_web(&[("allow", &allow), ("deny", &deny)])).unwrap();
    let unit = "a1b2c3d4e5f6g7h8i9j0.service";
    let peer = Peer { unit: Some(unit), ..Peer::new(Uid(8), Gid(60), &[]) };
    for (old, new, gains) in [(&all, &fewer, false), (&fewer, &all, true)] {
        let changes = diff(old, new, Moment::new(0, 0)).changes;
        let change = covering(&changes, &peer, Right::Get, slot(0), gains);
        assert!(change.is_some_and(|change| change.is_vague), "{changes:?}");
        assert_eq!(grants(old, slot(0), Moment::new(0, 0)).len(), 1);
    }
    assert!(before.elapsed().as_secs() < 10, "{:?}", before.elapsed());
}

#[test]
fn many_patterns_with_a_few_stars_each_keep_nobody_waiting_either() {
    let before = std::time::Instant::now();
    // Thirty that allow and thirty that deny, each pair of which overlaps in its own ways.
    let unit = |letters: &[char], number: usize| {
        let at = |step: usize| letters[(number * step + step) % letters.len()];
        format!("unit = \"*{}*{}*{}*{}*.service\"", at(1), at(3), at(5), at(7))
    };
    let (letters, digits) = (Vec::from_iter('a'..'k'), Vec::from_iter('0'..='9'));
    let allowed: Vec<String> = (0..30).map(|number| unit(&letters, number)).collect();
    let denied: Vec<String> = (0..30).map(|number| unit(&digits, number)).collect();
    let allow: Vec<_> = allowed.iter().map(|unit| ("allow", unit.as_str())).collect();
    let both = [&allow[..], &denied.iter().map(|unit| ("deny", unit.as_str())).collect::<Vec<_>>()];
    let all = load_one("all", &about_web(&allow)).unwrap();
    let fewer = load_one("fewer", &about_web(&both.concat())).unwrap();
    for (old, new) in [(&all, &fewer), (&fewer, &all)] {
        assert!(!diff(old, new, Moment::new(0, 0)).changes.is_empty());
        assert!(!grants(new, slot(0), Moment::new(0, 0)).is_empty());
    }
    assert!(before.elapsed().as_secs() < 60, "{:?}", before.elapsed());
}

#[test]
fn how_long_a_caller_waits_for_a_resource_is_a_difference() {
    let old = "version = 1\n[tags.a]\nid = 1\n[resources.r]\nslot = \"a/0\"\nfile = \"/f\"\n";
    let new = format!("{old}open_timeout = \"1m\"\n");
    let [old, new] = [old, &new].map(|text| load_one("p", text).expect("loads"));
    let found = SettingsDiff::of(&old, &new, Moment::new(0, 0)).resources;
    let [Altered { name, how: Alteration::Changed(fields) }] = &*found else { panic!("{found:?}") };
    let field = &fields[0];
    assert_eq!((&**name, fields.len()), ("r", 1));
    let told = (field.key, &*field.before, &*field.after);
    assert_eq!(told, ("open_timeout", "10000ms", "60000ms"));
}
