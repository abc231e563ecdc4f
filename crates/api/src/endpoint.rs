//! An endpoint: what is asked, what is answered, and who may ask. Default deny: a server routes only
//! what an [`Endpoint`] declares, and the declaration carries the right to call it.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::ProblemCode;

/// The HTTP method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Reads.
    Get,
    /// Does.
    Post,
}

impl Verb {
    /// The method's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// A role of the operator's staff. Each may do what its business needs and nothing else (P-7.1.a).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaffRole {
    /// Enters staff, batches and basic attributes of providers.
    SystemAdministrator,
    /// Enters providers, security domains and application definitions.
    BusinessManager,
    /// Approves providers, audits security domains and applications.
    Auditor,
    /// Tests audited applications.
    Tester,
    /// Publishes, suspends and archives.
    ReleaseOperator,
    /// Helps users: reads records, terminates tasks, reports losses.
    CustomerService,
    /// A staffed hall: may unlock and close what a phone may not.
    Hall,
    /// Reads the audit trail.
    Supervisor,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Anyone. Only what must work before any identity exists: registration and logins.
    Public,
    /// A wallet with a session, which stands for one secure element.
    Wallet,
    /// Whoever holds the unguessable conversation id, and its ticket where one was given.
    Conversation,
    /// The operator's staff in one of these roles.
    Staff(&'static [StaffRole]),
    /// A provider's person, in the provider portal; sees its own records only.
    Provider,
    /// A registered institution: client certificate and signed message.
    Peer,
    /// A registered merchant, or the payment platform at its merchant: a message signed with the registered
    /// RSA or SM2 key. Such platforms show no client certificate.
    Payment,
}

/// The reasons for which an endpoint may refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusals {
    access: Access,
    own: Option<&'static [ProblemCode]>,
}

impl Refusals {
    /// Whether it may refuse for this reason; where nothing is declared, for any.
    pub fn has(self, code: ProblemCode) -> bool {
        self.own.is_none() || self.known().contains(&code)
    }

    /// Those that are known. They are all, when [`Self::are_all`].
    pub fn known(self) -> Vec<ProblemCode> {
        [OF_EVERY_SERVER, self.access.refusals(), self.own.unwrap_or_default()].concat()
    }

    /// Whether no other may come.
    pub const fn are_all(self) -> bool {
        self.own.is_some()
    }
}

/// For what every server may refuse every request.
pub const OF_EVERY_SERVER: &[ProblemCode] = &[
    ProblemCode::MalformedRequest,
    ProblemCode::TooLarge,
    ProblemCode::TooManyRequests,
    ProblemCode::Internal,
    ProblemCode::Unavailable,
];

impl Access {
    /// For what a caller is refused who may not call.
    pub const fn refusals(self) -> &'static [ProblemCode] {
        use ProblemCode as C;
        match self {
            Self::Public | Self::Conversation => &[],
            Self::Wallet | Self::Provider => &[C::SessionRequired, C::SessionExpired, C::NotAllowed],
            Self::Staff(_) => {
                &[C::SessionRequired, C::SessionExpired, C::NotAllowed, C::PasswordChangeRequired]
            }
            Self::Peer => &[
                C::PeerCertificateRequired,
                C::SignatureWrong,
                C::SignatureStale,
                C::SignatureReplayed,
                C::NotAllowed,
            ],
            Self::Payment => &[C::SignatureWrong, C::SignatureStale, C::SignatureReplayed, C::NotAllowed],
        }
    }
}

/// A request without fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Nothing {}

/// One endpoint with its request `Q` and reply `R`. For GET the request travels as the query.
pub struct Endpoint<Q, R> {
    /// The method.
    pub verb: Verb,
    /// The path; `{name}` marks a parameter.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Every reason for which its own rules refuse, where they are declared.
    pub refusals: Option<&'static [ProblemCode]>,
    types: PhantomData<fn(Q) -> R>,
}

impl<Q, R> Endpoint<Q, R> {
    /// An endpoint that reads.
    pub const fn get(path: &'static str, access: Access, summary: &'static str) -> Self {
        Self { verb: Verb::Get, path, access, summary, refusals: None, types: PhantomData }
    }

    /// An endpoint that does something.
    pub const fn post(path: &'static str, access: Access, summary: &'static str) -> Self {
        Self { verb: Verb::Post, path, access, summary, refusals: None, types: PhantomData }
    }

    /// Declares every reason for which the endpoint's own rules refuse; those of [`Access::refusals`] and of every
    /// server come by themselves. A server that refuses for another reason is wrong, and its tests fail.
    #[must_use]
    pub const fn refusing(mut self, codes: &'static [ProblemCode]) -> Self {
        self.refusals = Some(codes);
        self
    }

    /// The reasons for which it may refuse.
    pub const fn declared(&self) -> Refusals {
        Refusals { access: self.access, own: self.refusals }
    }
}

impl<Q: ToSchema, R: ToSchema> Endpoint<Q, R> {
    /// The same endpoint without its types, for lists and documents.
    pub fn describe(&self) -> EndpointInfo {
        EndpointInfo {
            verb: self.verb,
            path: self.path,
            access: self.access,
            summary: self.summary,
            refusals: self.declared(),
            request: SchemaInfo::of::<Q>(),
            reply: SchemaInfo::of::<R>(),
        }
    }
}

/// An endpoint whose types have become schemas.
#[derive(Clone)]
pub struct EndpointInfo {
    /// The method.
    pub verb: Verb,
    /// The path.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does.
    pub summary: &'static str,
    /// The reasons for which it may refuse.
    pub refusals: Refusals,
    /// The request.
    pub request: SchemaInfo,
    /// The reply.
    pub reply: SchemaInfo,
}

/// A schema with its name and all the schemas it refers to.
#[derive(Clone)]
pub struct SchemaInfo {
    /// The type's name.
    pub name: Cow<'static, str>,
    /// The type's schema.
    pub schema: RefOr<Schema>,
    /// The schemas it refers to.
    pub parts: Vec<(String, RefOr<Schema>)>,
}

impl SchemaInfo {
    fn of<T: ToSchema>() -> Self {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        Self { name: T::name(), schema: <T as PartialSchema>::schema(), parts }
    }
}
