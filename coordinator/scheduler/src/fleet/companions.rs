//! Owns how many companions a VM has: on a host by looking at its VMs, in the realm by counting along once somebody has
//! asked. Nothing is counted for a realm in which no VM was ever to be together with others.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use super::holding::{Book, Holding, Tenants};
use super::interning::Number;
use crate::constraint::is_binding;
use crate::request::{Affinity, AffinityRule, Companions, Request};

/// How many kinds of companions are counted along; beyond that all are forgotten and counted anew when asked for. A
/// kind takes some hundred bytes.
const WATCHED_MAX: usize = 4096;

/// Companions by number in the book. A number is given to another word only when no VM has it any more, and then its
/// count is zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Owner(Number),
    Team(Number),
    Label(String, String),
}

impl Kind {
    /// Whom `companions` means for a VM like `request`; none when nobody can be meant, or a single VM.
    fn of(companions: &Companions, request: &Request, book: &Book) -> Option<Self> {
        // Who has no owner or no team shares it with nobody.
        let find = |word: &String| if word.is_empty() { None } else { book.words.find(word) };
        match companions {
            Companions::Owner => find(&request.owner).map(Self::Owner),
            Companions::Team => find(&request.team).map(Self::Team),
            Companions::Label { key, value } => Some(Self::Label(key.clone(), value.clone())),
            Companions::Vm(_) => None,
        }
    }

    fn includes(&self, holding: Holding, book: &Book) -> bool {
        match self {
            Self::Owner(owner) => holding.owner == *owner,
            Self::Team(team) => holding.team == *team,
            Self::Label(key, value) => {
                book.labels.get(holding.labels).and_then(|labels| labels.get(key)) == Some(value)
            }
        }
    }

    fn count(&self, tenants: &Tenants, book: &Book) -> u64 {
        tenants.holdings().filter(|holding| self.includes(*holding, book)).count() as u64
    }
}

/// Whom a request's affinity rules are about, looked up once.
#[derive(Debug)]
pub(super) struct Circle<'a> {
    members: Vec<Member<'a>>,
}

#[derive(Debug)]
struct Member<'a> {
    companions: &'a Companions,
    kind: Option<Kind>,
    /// Counted when it is first asked for.
    in_realm: OnceCell<u64>,
}

impl<'a> Circle<'a> {
    /// Looks `request` up.
    pub(super) fn of(request: &'a Request, book: &Book) -> Self {
        let member = |rule: &'a AffinityRule| Member {
            companions: &rule.companions,
            kind: Kind::of(&rule.companions, request, book),
            in_realm: OnceCell::new(),
        };
        Self { members: request.affinity.iter().map(member).collect() }
    }

    fn member(&self, companions: &Companions) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.companions == companions)
    }

    /// How many of `companions` there are among `tenants`.
    pub(super) fn here(&self, companions: &Companions, tenants: Option<&Tenants>, book: &Book) -> u64 {
        let (Some(member), Some(tenants)) = (self.member(companions), tenants) else { return 0 };
        member.count(tenants, book)
    }

    /// How many of `companions` there are in the realm.
    pub(super) fn in_realm(&self, companions: &Companions, realm: &Residents<'_>) -> u64 {
        self.member(companions).map_or(0, |member| *member.in_realm.get_or_init(|| member.count_all(realm)))
    }
}

impl Member<'_> {
    fn count(&self, tenants: &Tenants, book: &Book) -> u64 {
        match self.companions {
            Companions::Vm(vm) => u64::from(tenants.contains(*vm)),
            _ => self.kind.as_ref().map_or(0, |kind| kind.count(tenants, book)),
        }
    }

    fn count_all(&self, realm: &Residents<'_>) -> u64 {
        let watched = self.kind.as_ref().and_then(|kind| realm.census.watched.get(kind)).copied();
        let scan = || realm.tenants.iter().map(|tenants| self.count(tenants, realm.book)).sum();
        watched.unwrap_or_else(scan)
    }
}

/// All VMs of a realm.
#[derive(Clone, Copy)]
pub(super) struct Residents<'a> {
    /// What was counted along.
    pub(super) census: &'a Census,
    /// By host.
    pub(super) tenants: &'a [Tenants],
    /// What they hold.
    pub(super) book: &'a Book,
}

impl Residents<'_> {
    /// The request without the rules that bar no host now. Those that are left hold or do not hold host by host.
    pub(super) fn binding<'r>(&self, request: &'r Request) -> Cow<'r, Request> {
        if request.affinity.iter().all(|rule| rule.kind == Affinity::Apart) {
            return Cow::Borrowed(request);
        }
        let circle = Circle::of(request, self.book);
        let mut bound = request.clone();
        bound.affinity.retain(|rule| is_binding(rule, || circle.in_realm(&rule.companions, self)));
        Cow::Owned(bound)
    }
}

/// How many there are in a realm of each kind of companions that somebody has asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Census {
    watched: HashMap<Kind, u64>,
}

impl Census {
    /// One more VM in the realm.
    pub(super) fn admit(&mut self, holding: Holding, book: &Book) {
        self.each(holding, book, |count| *count += 1);
    }

    /// One VM less in the realm.
    pub(super) fn dismiss(&mut self, holding: Holding, book: &Book) {
        self.each(holding, book, |count| *count = count.saturating_sub(1));
    }

    fn each(&mut self, holding: Holding, book: &Book, change: impl Fn(&mut u64)) {
        if self.watched.is_empty() {
            return;
        }
        let none = BTreeMap::new();
        let labels = book.labels.get(holding.labels).unwrap_or(&none);
        let labels = labels.iter().map(|(key, value)| Kind::Label(key.clone(), value.clone()));
        for kind in [Kind::Owner(holding.owner), Kind::Team(holding.team)].into_iter().chain(labels) {
            if let Some(count) = self.watched.get_mut(&kind) {
                change(count);
            }
        }
    }

    /// Counts from now on whom `request` is to be together with.
    pub(super) fn watch(&mut self, request: &Request, all: &[Tenants], book: &Book) {
        for rule in request.affinity.iter().filter(|rule| rule.kind == Affinity::Together) {
            let Some(kind) = Kind::of(&rule.companions, request, book) else { continue };
            if self.watched.contains_key(&kind) {
                continue;
            }
            if self.watched.len() >= WATCHED_MAX {
                self.watched.clear();
            }
            let count = all.iter().map(|tenants| kind.count(tenants, book)).sum();
            self.watched.insert(kind, count);
        }
    }
}
