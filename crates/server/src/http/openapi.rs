//! The description of the API at `/openapi.json`, made of the routes themselves.
//!
//! What can go wrong is the same for all routes with a body, a path or a login, so it is added here
//! instead of being written at each of them.

use bytes::Bytes;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Ref, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::openapi::{LicenseBuilder, ObjectBuilder, RefOr, Type};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::failure::ErrorBody;

/// The name of the way to log in.
const BEARER: &str = "bearer";

/// What stands above the routes.
pub(super) fn head() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Galgo")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Message streaming over HTTP. Log in at `/users/login` and send the token as `Authorization: Bearer …`."))
        .license(Some(license))
        .build();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = ComponentsBuilder::new()
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .schema(ErrorBody::name(), ErrorBody::schema())
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new::<_, [String; 0], String>(BEARER, [])]))
        .build()
}

/// Adds what can go wrong, and writes the document.
pub(super) fn finish(mut document: OpenApi) -> Bytes {
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(complete);
    }
    Bytes::from(document.to_json().unwrap_or_default())
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, put, patch, delete, .. } = item;
    [get, post, put, patch, delete].into_iter().flatten()
}

fn complete(operation: &mut Operation) {
    let public = operation.security.is_some();
    let has_body = operation.request_body.is_some();
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has_path =
        parameters.iter().any(|p| matches!(p, RefOr::T(p) if p.parameter_in == ParameterIn::Path));
    let mut add = |status: &str, response: Response| {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert(RefOr::T(response));
    };
    if has_body && public {
        add("401", error("The token to be exchanged is not good."));
    }
    if has_body {
        add("408", text("The body came too slowly."));
        add("413", text("The body is too large."));
        add("415", text("The body is not said to be JSON."));
        add("422", text("The body does not have the fields this route takes."));
    }
    if !public {
        add("401", plain("No good token came with the request."));
        add("403", error("The caller may not do this."));
    }
    if has_path || has_body || !public {
        add("400", error_or_text("Something in the request is not as it has to be."));
        add("404", error("What the request is about does not exist."));
    }
}

fn plain(description: &str) -> Response {
    ResponseBuilder::new().description(description).build()
}

fn text(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(string())).build();
    ResponseBuilder::new().description(description).content("text/plain", content).build()
}

fn error(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(error_schema())).build();
    ResponseBuilder::new().description(description).content("application/json", content).build()
}

fn error_or_text(description: &str) -> Response {
    let json = ContentBuilder::new().schema(Some(error_schema())).build();
    let text = ContentBuilder::new().schema(Some(string())).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/json", json)
        .content("text/plain", text)
        .build()
}

fn string() -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).build()))
}

fn error_schema() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(ErrorBody::name()))
}
