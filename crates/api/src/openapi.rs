//! The OpenAPI document of each role, made from its endpoints.

use std::collections::BTreeMap;

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
use crate::problem::{Problem, ProblemCode};

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
        paths.add_path_operation(endpoint.path, vec![method], operation(endpoint).build());
    }
    let mut components = ComponentsBuilder::new();
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    components =
        components.security_scheme("session", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let signature = ApiKeyValue::with_description(
        "pay-signature",
        "RSA-SHA256 or SM2-with-SM3 over method, path, pay-timestamp, pay-nonce and body, a line each.",
    );
    components = components.security_scheme("merchant", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    components = components.security_scheme(
        "institution",
        SecurityScheme::MutualTls { description: None, deprecated: None, extensions: None },
    );
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title(format!("OpenTSM {}", role.name())).version("1").build())
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn operation(endpoint: &EndpointInfo) -> OperationBuilder {
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
    if let Some(scheme) = security(endpoint.access) {
        operation = operation.security(SecurityRequirement::new(scheme, Vec::<String>::new()));
    }
    let reply = ResponseBuilder::new()
        .description("Done.")
        .content("application/json", Content::new(Some(reference(&endpoint.reply))));
    let problem = ResponseBuilder::new()
        .description("Not done.")
        .content("application/json", Content::new(Some(Ref::from_schema_name(Problem::name()))));
    operation.response("200", reply.build()).response("default", problem.build())
}

fn reference(info: &SchemaInfo) -> Ref {
    Ref::from_schema_name(info.name.clone())
}

fn query_parameters(mut operation: OperationBuilder, info: &SchemaInfo) -> OperationBuilder {
    if let RefOr::T(Schema::Object(object)) = &info.schema {
        for (name, schema) in &object.properties {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Query)
                    .required(Required::False)
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

fn security(access: Access) -> Option<&'static str> {
    match access {
        Access::Public | Access::Conversation => None,
        Access::Wallet | Access::Staff(_) | Access::Provider => Some("session"),
        Access::Peer => Some("institution"),
        Access::Payment => Some("merchant"),
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
