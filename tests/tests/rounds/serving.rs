//! The service and its clients, as a round sees them.

use std::net::SocketAddr;

use fdbroker_tests::traffic::orders::{Checked, Deposited, Positions};
use fdbroker_tests::traffic::program::Program;
use fdbroker_tests::traffic::service::Start;
use fdbroker_tests::traffic::stream::Position;
use fdbroker_tests::{wait_for, wait_until};

use super::site::Site;

/// How many connections it has.
const CONNECTIONS: usize = 1000;

pub(super) struct Serving {
    service: Option<Program>,
    clients: Program,
    deposits: Vec<Deposited>,
    /// How far both ends were in the last round.
    before: [Vec<Position>; 2],
}

impl Serving {
    #[track_caller]
    pub(super) fn begin(site: &Site<'_>) -> Self {
        let mut service = start(site, Start::New);
        let address: SocketAddr = service.answer();
        let connections = CONNECTIONS.to_string();
        let mut clients = site.program(&["clients", &address.to_string(), &connections]);
        for process in [&mut clients, &mut service] {
            assert_eq!(process.answer::<usize>(), CONNECTIONS);
        }
        let before = [(); 2].map(|()| vec![Position::default(); CONNECTIONS]);
        let mut serving = Self { service: Some(service), clients, deposits: Vec::new(), before };
        serving.deposits = serving.checked();
        serving
    }

    /// The service ends: it deposits how far it is, or knows nothing of it.
    #[track_caller]
    pub(super) fn end(&mut self, start: Start) {
        let mut service = self.service.take().expect("it runs");
        match start {
            Start::AfterStop => {
                let said: Positions = service.ask("stop");
                assert!(said.failures.is_empty(), "{:?}", said.failures);
                service.ends();
            }
            _ => service.kill(),
        }
    }

    /// Starts it again after that. The connections are those of before.
    #[track_caller]
    pub(super) fn begin_again(&mut self, site: &Site<'_>, how: Start) {
        let mut service = start(site, how);
        assert_eq!(service.answer::<usize>(), CONNECTIONS);
        self.service = Some(service);
        let found = self.checked();
        if how == Start::AfterStop {
            // It has said other payloads.
            let cookies = |deposits: &[Deposited]| -> Vec<u64> {
                deposits.iter().map(|deposit| deposit.cookie).collect()
            };
            assert!(cookies(&found) == cookies(&self.deposits), "other connections");
            self.deposits = found;
        }
    }

    /// Looks at each deposit: it is there by name, with the open file description and the payload that it had.
    #[track_caller]
    pub(super) fn check(&mut self) {
        let found = self.checked();
        let differ = found.iter().zip(&self.deposits).position(|(found, left)| found != left);
        assert_eq!(differ, None, "the first deposit that is another one");
        assert_eq!(found.len(), self.deposits.len());
    }

    #[track_caller]
    fn checked(&mut self) -> Vec<Deposited> {
        let Checked { deposits, failures } = self.service().ask("check");
        assert!(failures.is_empty(), "{failures:?}");
        deposits
    }

    /// Waits until bytes have gone both ways over each connection.
    #[track_caller]
    pub(super) fn goes_on(&mut self) {
        self.before = wait_for("each connection goes on", || {
            let now = self.positions("positions");
            let mut both = now.iter().flatten().zip(self.before.iter().flatten());
            let moved = |(now, before): (&Position, &Position)| {
                now.sent > before.sent && now.received > before.received
            };
            both.all(moved).then_some(now)
        });
    }

    /// Has both ends send nothing, and waits until each has what the other sent; then they go on.
    #[track_caller]
    pub(super) fn loses_no_byte(&mut self) {
        self.positions("hold");
        wait_until("each end has every byte of the other", || {
            let [service, clients] = self.positions("positions");
            let crossed = |(one, other): (&Position, &Position)| {
                one.sent == other.received && one.received == other.sent
            };
            service.iter().zip(&clients).all(crossed)
        });
        self.positions("go");
    }

    /// Tells both ends something; how far they are.
    #[track_caller]
    fn positions(&mut self, order: &str) -> [Vec<Position>; 2] {
        let service: Positions = self.service().ask(order);
        let clients: Positions = self.clients.ask(order);
        [service, clients].map(|Positions { positions, failures }| {
            assert!(failures.is_empty(), "{failures:?}");
            positions
        })
    }

    fn service(&mut self) -> &mut Program {
        self.service.as_mut().expect("it runs")
    }
}

fn start(site: &Site<'_>, how: Start) -> Program {
    site.program(&["serve", site.socket(), &CONNECTIONS.to_string(), how.word()])
}
