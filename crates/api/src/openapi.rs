//! The OpenAPI document of each role, made from its endpoints: what is sent, in which headers, what is signed, and
//! for which reasons it is refused.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr,
    Required, ResponseBuilder, Schema, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::endpoint::{Access, EndpointInfo, Nothing, SchemaInfo, Verb};
use crate::payment::signing;
use crate::problem::{Problem, ProblemCode};
use crate::signature;

/// A role with a document of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The SE-TSM.
    SeTsm,
    /// The SP-TSM.
    SpTsm,
    /// The clearing centre.
    Clearing,
    /// The payment platform.
    Payment,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::SeTsm, Self::SpTsm, Self::Clearing, Self::Payment];

    /// The name of its document, without an ending.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeTsm => "se-tsm",
            Self::SpTsm => "sp-tsm",
            Self::Clearing => "clearing",
            Self::Payment => "payment",
        }
    }

    /// Its endpoints.
    pub fn endpoints(self) -> Vec<EndpointInfo> {
        match self {
            Self::SeTsm => crate::se_tsm::endpoints(),
            Self::SpTsm => crate::sp_tsm::endpoints(),
            Self::Clearing => crate::clearing::endpoints(),
            Self::Payment => crate::payment::endpoints(),
        }
    }

    /// Its document, as it is committed: pretty JSON with a last line break.
    pub fn document(self) -> String {
        let mut text = document(self).to_pretty_json().expect("an OpenAPI document is plain data");
        text.push('\n');
        text
    }
}

/// What holds for every endpoint.
const GENERAL: &str = "JSON over HTTPS (TLS 1.3). A GET takes its request as the query, a POST as the body. \
Instants are RFC 3339, days are days in China, amounts are in fen, bytes are hexadecimal. No text may hold control \
characters or characters that change the reading direction. Whatever is refused is answered with a problem, whose \
code is stable; its sentences are for people.";

fn document(role: Role) -> OpenApi {
    let endpoints = role.endpoints();
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    schemas.insert(Problem::name().into_owned(), Problem::schema());
    schemas.insert(ProblemCode::name().into_owned(), ProblemCode::schema());
    let mut paths = Paths::new();
    for endpoint in &endpoints {
        for info in [&endpoint.request, &endpoint.reply] {
            schemas.insert(info.name.clone().into_owned(), info.schema.clone());
            schemas.extend(info.parts.iter().cloned());
        }
        let method = match endpoint.verb {
            Verb::Get => HttpMethod::Get,
            Verb::Post => HttpMethod::Post,
        };
        paths.add_path_operation(endpoint.path, vec![method], operation(role, endpoint).build());
    }
    let mut components = ComponentsBuilder::new();
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    components =
        components.security_scheme("session", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let key = |name: &str, words: String| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name.to_owned(), words)))
    };
    components = components.security_scheme("merchant", key(signing::SIGNATURE, signing::in_words()));
    components = components.security_scheme("message", key(signature::SIGNATURE, signature::in_words()));
    components = components.security_scheme(
        "institution",
        SecurityScheme::MutualTls {
            description: Some("The client certificate that the institution is registered with.".into()),
            deprecated: None,
            extensions: None,
        },
    );
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title(format!("OpenTSM {}", role.name()))
                .version("1")
                .description(Some(GENERAL))
                .build(),
        )
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn operation(role: Role, endpoint: &EndpointInfo) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .summary(Some(endpoint.summary))
        .description(Some(access_in_words(endpoint.access)))
        .operation_id(Some(operation_id(endpoint)));
    for name in parameters(endpoint.path) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    if endpoint.request.name != Nothing::name() {
        operation = match endpoint.verb {
            Verb::Get => query_parameters(operation, &endpoint.request),
            Verb::Post => operation.request_body(Some(
                RequestBodyBuilder::new()
                    .content("application/json", Content::new(Some(reference(&endpoint.request))))
                    .required(Some(Required::True))
                    .build(),
            )),
        };
    }
    for header in headers(role, endpoint.access) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(header.name)
                .parameter_in(ParameterIn::Header)
                .required(header.required)
                .description(Some(header.words))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    if let Some(requirement) = security(endpoint.access) {
        operation = operation.security(requirement);
    }
    let mut reply = ResponseBuilder::new()
        .description("Done.")
        .content("application/json", Content::new(Some(reference(&endpoint.reply))));
    if signs_replies(role, endpoint.access) {
        for (name, words) in signing::HEADERS {
            reply = reply.header(name, HeaderBuilder::new().description(Some(words)).build());
        }
    }
    refusals(operation.response("200", reply.build()), endpoint)
}

/// A response for each status, with the reasons that it stands for.
fn refusals(mut operation: OperationBuilder, endpoint: &EndpointInfo) -> OperationBuilder {
    let mut by_status: BTreeMap<u16, Vec<ProblemCode>> = BTreeMap::new();
    let mut known = endpoint.refusals.known();
    if parameters(endpoint.path).next().is_some() {
        known.push(ProblemCode::UnknownId);
    }
    for code in known {
        let codes = by_status.entry(code.status()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    let problem = |words: String| {
        let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
        ResponseBuilder::new().description(words).content("application/json", content).build()
    };
    for (status, codes) in by_status {
        let lines: Vec<_> =
            codes.iter().map(|code| format!("`{}`: {}", name_of(*code), code.message_en())).collect();
        operation = operation.response(status.to_string(), problem(lines.join("\n")));
    }
    if endpoint.refusals.are_all() {
        return operation;
    }
    let words = "Refused by the rules of the operation, for the reason that the problem's code names.";
    operation.response("default", problem(words.into()))
}

fn name_of(code: ProblemCode) -> String {
    let name = serde_json::to_value(code).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}

struct HeaderWords {
    name: &'static str,
    words: &'static str,
    required: Required,
}

/// The headers of a request that its caller signs.
fn headers(role: Role, access: Access) -> Vec<HeaderWords> {
    let all = |headers: &[(&'static str, &'static str)]| {
        let of = |&(name, words)| HeaderWords { name, words, required: Required::True };
        headers.iter().map(of).collect::<Vec<_>>()
    };
    match access {
        Access::Public | Access::Conversation | Access::Wallet | Access::Staff(_) | Access::Provider => {
            Vec::new()
        }
        Access::Peer => all(&signature::HEADERS),
        Access::Payment => {
            let mut headers = all(&signing::HEADERS);
            if signs_replies(role, access) {
                let words = signing::REPLY_SERIAL_IN_WORDS;
                headers.push(HeaderWords { name: signing::REPLY_SERIAL, words, required: Required::False });
            }
            headers
        }
    }
}

/// The platform signs what it answers a merchant. Nobody signs an answer to it.
fn signs_replies(role: Role, access: Access) -> bool {
    role == Role::Payment && access == Access::Payment
}

fn reference(info: &SchemaInfo) -> Ref {
    Ref::from_schema_name(info.name.clone())
}

fn query_parameters(mut operation: OperationBuilder, info: &SchemaInfo) -> OperationBuilder {
    if let RefOr::T(Schema::Object(object)) = &info.schema {
        for (name, schema) in &object.properties {
            let required = if object.required.contains(name) { Required::True } else { Required::False };
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Query)
                    .required(required)
                    .schema(Some(schema.clone())),
            );
        }
    }
    operation
}

/// The names between braces in a path.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn operation_id(endpoint: &EndpointInfo) -> String {
    let mut id = endpoint.verb.name().to_ascii_lowercase();
    for part in endpoint.path.split('/').filter(|part| !part.is_empty()) {
        id.push('_');
        id.extend(part.chars().filter(|c| !matches!(c, '{' | '}')).map(|c| if c == '-' { '_' } else { c }));
    }
    id
}

fn security(access: Access) -> Option<SecurityRequirement> {
    let alone = |scheme: &str| SecurityRequirement::new(scheme, Vec::<String>::new());
    match access {
        Access::Public | Access::Conversation => None,
        Access::Wallet | Access::Staff(_) | Access::Provider => Some(alone("session")),
        Access::Peer => Some(alone("institution").add("message", Vec::<String>::new())),
        Access::Payment => Some(alone("merchant")),
    }
}

fn access_in_words(access: Access) -> String {
    match access {
        Access::Public => "Anyone may call this.".into(),
        Access::Wallet => "A wallet with a session may call this, for its own secure element.".into(),
        Access::Conversation => "Whoever holds the unguessable number in the path may call this.".into(),
        Access::Staff(roles) => {
            let names: Vec<_> = roles
                .iter()
                .filter_map(|role| serde_json::to_value(role).ok()?.as_str().map(str::to_owned))
                .collect();
            format!("Staff in one of these roles may call this: {}.", names.join(", "))
        }
        Access::Provider => "A provider's person may call this, for the provider's own records.".into(),
        Access::Peer => {
            "A registered institution may call this, with its client certificate and a signed message.".into()
        }
        Access::Payment => {
            "A registered merchant or the payment platform may call this, with a message signed by RSA or SM2."
                .into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_document_resolves_its_references() {
        for role in Role::ALL {
            let text = role.document();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let schemas = value["components"]["schemas"].as_object().unwrap();
            for reference in text.lines().filter_map(|line| line.split("#/components/schemas/").nth(1)) {
                let name = reference.trim_end_matches(['"', ',']);
                assert!(schemas.contains_key(name), "{}: {name} is missing", role.name());
            }
        }
    }

    /// What a foreign client was written against changes only with the committed document.
    #[test]
    fn the_committed_documents_are_those_of_the_code() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi");
        for role in Role::ALL {
            let path = folder.join(format!("{}.json", role.name()));
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            let remedy = "run `cargo run -p tsm-api --example openapi` and look at the difference";
            assert!(committed == role.document(), "{} is out of date: {remedy}", path.display());
        }
    }

    /// A client can be written from the document: what must be sent is required, headers and all.
    #[test]
    fn what_must_be_sent_is_required() {
        let document = |role: Role| serde_json::from_str::<serde_json::Value>(&role.document()).unwrap();
        let required = |value: &serde_json::Value, place: &str| {
            let all = value["parameters"].as_array().unwrap().iter();
            let of_place = all.filter(|one| one["in"] == place && one["required"] == true);
            of_place.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let payment = document(Role::Payment);
        let statement = &payment["paths"]["/merchant/v1/statements"]["get"];
        assert_eq!(required(statement, "query"), ["day"]);
        let headers = ["pay-merchant", "pay-timestamp", "pay-nonce", "pay-serial", "pay-signature"];
        assert_eq!(required(statement, "header"), headers);
        let piece = &payment["paths"]["/merchant/v1/statements/pieces"]["get"];
        assert_eq!(required(piece, "query"), ["day"], "a piece may begin at the beginning");
        let reply = statement["responses"]["200"]["headers"].as_object().unwrap();
        assert_eq!(reply.keys().collect::<HashSet<_>>(), headers.map(String::from).iter().collect());
        let statuses: Vec<_> = statement["responses"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(statuses, ["200", "400", "401", "403", "409", "413", "422", "429", "500", "503"]);
        let said = statement["responses"]["409"]["description"].as_str().unwrap();
        assert!(said.starts_with("`state_forbids`: "), "{said}");
        let word = &document(Role::SpTsm)["paths"]["/peer/v1/payment-notifications"]["post"];
        assert_eq!(required(word, "header"), headers);
        let books = &document(Role::Clearing)["paths"]["/peer/v1/books"]["get"];
        let peers = ["x-tsm-institution", "x-tsm-timestamp", "x-tsm-serial", "x-tsm-signature"];
        assert_eq!(required(books, "header"), peers);
        assert!(books["responses"]["default"].is_object(), "its own rules are not declared");
    }

    /// What can be left out of a query, and only that, is not required.
    #[test]
    fn every_query_parameter_is_required_or_may_be_left_out() {
        for role in Role::ALL {
            let document: serde_json::Value = serde_json::from_str(&role.document()).unwrap();
            for endpoint in role.endpoints().into_iter().filter(|endpoint| endpoint.verb == Verb::Get) {
                let RefOr::T(Schema::Object(object)) = &endpoint.request.schema else { continue };
                let operation = &document["paths"][endpoint.path]["get"];
                for one in operation["parameters"].as_array().into_iter().flatten() {
                    if one["in"] == "query" {
                        let name = one["name"].as_str().unwrap().to_owned();
                        let must = object.required.contains(&name);
                        assert_eq!(one["required"], must, "{} {name}", endpoint.path);
                    }
                }
            }
        }
    }

    #[test]
    fn endpoints_are_unique_and_described() {
        for role in Role::ALL {
            let mut seen = HashSet::new();
            for endpoint in role.endpoints() {
                assert!(seen.insert((endpoint.verb.name(), endpoint.path)), "{} twice", endpoint.path);
                assert!(endpoint.summary.ends_with('.'), "{}", endpoint.path);
            }
        }
    }
}
