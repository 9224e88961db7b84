//! Who may, and what makes no sense for anybody.

use super::*;

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut owner = daemon.owner(tag);
        let mut stranger = daemon.greeted();
        for answer in [stranger.ready(tag), stranger.release(tag), stranger.withdraw(tag)] {
            assert_eq!(answer.errno(), libc::EINVAL);
        }
        assert_eq!(stranger.try_claim(tag, AGAIN, LONG).errno(), libc::ESTALE);
        assert_eq!(owner.release(tag).errno(), libc::EINVAL);
        owner.ready(tag).done();
        assert_eq!(owner.claim(tag, QUIESCED), State::Owned);
        assert_eq!(stranger.claim(tag, QUIESCED), State::Waiting);
        assert_eq!(stranger.try_claim(tag, LIVE, LONG).errno(), libc::EINVAL);
        assert_eq!(stranger.ready(tag).errno(), libc::EBUSY);
        for (mode, time) in [(3, 1), (-1, 1), (0, 0), (0, -1), (0, LONG + 1)] {
            assert_eq!(stranger.try_claim(tag, mode, time).errno(), libc::EINVAL);
        }
    }
    assert_eq!(daemon.greeted().try_claim(12, LIVE, LONG).errno(), libc::EACCES);
    let mut ungreeted = daemon.connect();
    assert_eq!(ungreeted.try_claim(WEB, LIVE, LONG).errno(), libc::EPROTO);
    ungreeted.ask(&request::hello_for(7), &[]);
    assert_eq!(ungreeted.try_claim(WEB, LIVE, LONG).errno(), libc::EPROTO);
}

#[test]
fn a_release_to_a_claim_that_has_ended_releases_to_nobody_else() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut owner = daemon.owner(tag);
        let (mut first, mut second) = (daemon.greeted(), daemon.greeted());
        let ended = first.claim_for(tag, QUIESCED, LONG).claim;
        let next = second.claim_for(tag, QUIESCED, LONG).claim;
        first.withdraw(tag).done();
        assert_eq!(owner.ask(&request::release_to(tag, ended), &[]).errno(), libc::EINVAL);
        second.is_told_nothing(MEANWHILE);
        owner.add((tag, 0), "up to date for the second").done();
        owner.ask(&request::release_to(tag, next), &[]).done();
        second.is_told(tag, What::Granted);
    }
}

#[test]
fn a_session_has_a_bounded_number_of_tags_at_stake() {
    let tags: String = (0..70).map(|tag| format!("[tags.t{tag}]\nid = {tag}\n")).collect();
    let rule = &POLICY[POLICY.find("[[rules]]").unwrap()..];
    let daemon = Daemon::with_policy(&format!("{tags}{rule}")).start();
    let mut greedy = daemon.greeted();
    for tag in 0..64 {
        assert_eq!(greedy.claim(tag, LIVE), State::Owned);
    }
    assert_eq!(greedy.try_claim(64, LIVE, LONG).errno(), libc::EDQUOT);
    assert_eq!(greedy.claim(63, LIVE), State::Owned);
    greedy.withdraw(5).done();
    assert_eq!(greedy.claim(64, LIVE), State::Owned);
    assert_eq!(daemon.greeted().claim(65, LIVE), State::Owned);
}

const ONE_MAY: &str = r#"
[tags.web]
id = 10

[[rules]]
id = "one may take it over"
allow = ["claim"]
slots = ["web/*"]
user = 64101

[[rules]]
id = "all may do anything else"
allow = ["get", "add", "del", "tag", "replace", "list"]
slots = ["web/*"]
anyone = true
"#;

#[test]
fn nobody_but_whom_the_policy_lets_takes_a_tag_over() {
    if !needs_root("users of whom one may claim") {
        return;
    }
    let daemon = Daemon::with_policy(ONE_MAY).start();
    let (one, other) = (HelperProcess::user(64101), HelperProcess::user(64102));
    let mut owner = one.greeted(&daemon);
    assert_eq!(owner.claim(WEB, LIVE), State::Owned);
    let mut stranger = other.greeted(&daemon);
    for mode in [LIVE, QUIESCED, AGAIN] {
        assert_eq!(stranger.try_claim(WEB, mode, LONG).errno(), libc::EACCES);
    }
    assert_eq!(stranger.ready(WEB).errno(), libc::EACCES);
    let record = daemon.log().decisions().into_iter().rfind(|record| record.uid == 64102).unwrap();
    assert_eq!((&*record.right, &*record.verdict, &*record.slot), ("claim", "refused", "10/*"));
    assert_eq!(one.greeted(&daemon).claim(WEB, LIVE), State::Granted);
    assert_eq!(owner.is_told(WEB, What::ClaimedLive).uid, 64101);
}

#[test]
fn whoever_gets_hold_of_the_connection_gives_up_nothing_that_it_could_not_claim() {
    if !needs_root("a connection in the hands of another user") {
        return;
    }
    let daemon = Daemon::with_policy(ONE_MAY).start();
    let one = HelperProcess::user(64101);
    let socket = one.open_connection(daemon.socket()).unwrap();
    let mut stolen = HelperProcess::user(64102).take_over(socket.share().unwrap()).greeted();
    let mut owner = one.take_over(socket.share().unwrap());
    assert_eq!(owner.claim(WEB, LIVE), State::Owned);
    assert_eq!(stolen.withdraw(WEB).errno(), libc::EACCES);
    assert_eq!(stolen.release(WEB).errno(), libc::EACCES);
    owner.withdraw(WEB).done();
}

#[test]
fn a_reload_that_takes_the_right_away_keeps_a_claimant_from_being_ready() {
    let daemon = Daemon::of_claims();
    let (mut old, mut new) = (daemon.owner(WEB), daemon.greeted());
    assert_eq!(new.claim(WEB, QUIESCED), State::Waiting);
    let without = POLICY.replace("allow = [\"*\"]", "allow = [\"*\"]\ndeny = [\"claim\"]");
    daemon.reload(&without);
    // To give something up takes no right.
    old.release(WEB).done();
    new.is_told(WEB, What::Granted);
    assert_eq!(new.ready(WEB).errno(), libc::EACCES);
    new.withdraw(WEB).done();
    old.add((WEB, 0), "still mine").done();
    assert_eq!(new.try_claim(WEB, LIVE, LONG).errno(), libc::EACCES);
    old.withdraw(WEB).done();
}

#[test]
fn a_tag_does_not_pass_to_a_claimant_that_may_not_claim_it_any_more() {
    if !needs_root("a claimant whose right is taken away") {
        return;
    }
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let outcast = HelperProcess::user(64101);
        let (mut old, mut lost) = (daemon.owner(tag), outcast.greeted(&daemon));
        let mut next = daemon.greeted();
        assert_eq!(lost.claim(tag, QUIESCED), State::Waiting);
        assert_eq!(next.claim(tag, QUIESCED), State::Waiting);
        let denied =
            "[[rules]]\nid = \"not that one\"\ndeny = [\"claim\"]\nslots = [\"*\"]\nuser = 64101\n";
        daemon.reload(&format!("{POLICY}\n{denied}"));
        old.withdraw(tag).done();
        next.is_told(tag, What::Owned);
        lost.is_told(tag, What::Expired);
        assert_eq!(lost.ready(tag).errno(), libc::EACCES);
        daemon.reload(POLICY);
    }
}
