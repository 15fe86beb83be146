//! Routes made of the table of commands: of those whose requests are all in path and query.
//!
//! Such a command is on HTTP by being in the table with the word `plain`. Method and path come from its row, the
//! parameters, the answer and the description of both from its declaration.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use galgo_wire::command::{Command, HttpMethod, HttpRoute, Request, visit_plain};
use galgo_wire::json::{Json as _, JsonReply};
use galgo_wire::parameter::{FromParameters, Given, ParameterDescription, PlainVisitor};
use utoipa::openapi::path::{
    HttpMethod as DescribedMethod, Operation, OperationBuilder, Parameter, ParameterBuilder,
    ParameterIn, PathItem,
};
use utoipa::openapi::{ContentBuilder, Paths, Required, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::Api;
use super::call::Call;
use super::extract::{PathOf, QueryOf};
use super::failure::ApiFailure;
use super::json::JsonAnswer;

/// What a route is about, by a part of its path: the first of these that it has.
const TAGS: [(&str, &str); 8] = [
    ("/consumer-groups", "consumer groups"),
    ("/offsets", "consumer offsets"),
    ("/partitions", "partitions"),
    ("/topics", "topics"),
    ("/streams", "streams"),
    ("/users", "users"),
    ("/personal-access-tokens", "personal access tokens"),
    ("", "system"),
];

/// Adds the routes of plain commands.
pub(super) fn add(router: OpenApiRouter<Arc<Api>>) -> OpenApiRouter<Arc<Api>> {
    let mut routes = Routes(router);
    visit_plain(&mut routes);
    routes.0
}

struct Routes(OpenApiRouter<Arc<Api>>);

impl PlainVisitor for Routes {
    fn visit<C>(&mut self)
    where
        C: Command + FromParameters + Clone + Into<Request> + Send + 'static,
        C::Reply: JsonReply,
    {
        let HttpRoute::At(method, path) = C::CODE.route() else {
            unreachable!("INV-ONCE: a plain command has a method and a path")
        };
        let (filter, method) = match method {
            HttpMethod::Get => (MethodFilter::GET, DescribedMethod::Get),
            HttpMethod::Post => (MethodFilter::POST, DescribedMethod::Post),
            HttpMethod::Put => (MethodFilter::PUT, DescribedMethod::Put),
            HttpMethod::Patch => (MethodFilter::PATCH, DescribedMethod::Patch),
            HttpMethod::Delete => (MethodFilter::DELETE, DescribedMethod::Delete),
        };
        let mut paths = Paths::new();
        paths.paths.insert(path.to_owned(), PathItem::new(method, operation::<C>(path)));
        let mut schemas = Vec::new();
        <C::Reply as JsonReply>::Body::collect(&mut schemas);
        // As classic servers do, the routes they have pass over what they do not know.
        let known = C::CODE.is_extension().then(|| -> Arc<[&'static str]> {
            C::parameters().into_iter().map(|parameter| parameter.name).collect()
        });
        let answer = move |call: Call, path: PathOf<_>, query: QueryOf<_>| {
            run::<C>(call, known.clone(), path, query)
        };
        let router = std::mem::take(&mut self.0);
        self.0 = router.routes((schemas, paths, on(filter, answer)));
    }
}

/// Answers a request with what its command comes to. Other parameters than those `known` are refused, where that is said.
async fn run<C>(
    call: Call,
    known: Option<Arc<[&'static str]>>,
    PathOf(path): PathOf<Vec<(String, String)>>,
    QueryOf(query): QueryOf<Vec<(String, String)>>,
) -> Result<Response, ApiFailure>
where
    C: Command + FromParameters + Clone + Into<Request> + Send + 'static,
    C::Reply: JsonReply,
{
    let given = Given::new(path, query);
    if let Some(known) = known {
        given.check_names(&known)?;
    }
    let command = C::from_parameters(&given)?;
    let body = match C::CODE.is_extension() {
        true => find_own(&call, command).await?,
        false => call.find(command).await?,
    };
    Ok(match <C::Reply as JsonReply>::HAS_BODY {
        true => JsonAnswer(body).into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Runs a command of Galgo's own, whose refusals name what they are about.
pub(super) async fn find_own<C>(
    call: &Call,
    command: C,
) -> Result<<C::Reply as JsonReply>::Body, ApiFailure>
where
    C: Command + Clone + Into<Request>,
    C::Reply: JsonReply,
{
    let asked = command.clone();
    let found = call.find(command).await;
    found.map_err(|failure| failure.about(&call.api.hub.broker, &asked.right()))
}

/// The description of a route.
fn operation<C>(path: &str) -> Operation
where
    C: Command + FromParameters,
    C::Reply: JsonReply,
{
    let (_, tag) = TAGS.into_iter().find(|(part, _)| path.contains(part)).unwrap_or(("", "system"));
    let success = match <C::Reply as JsonReply>::HAS_BODY {
        true => {
            let body = <C::Reply as JsonReply>::Body::shape();
            let content = ContentBuilder::new().schema(Some(body)).build();
            ("200", ResponseBuilder::new().content("application/json", content))
        }
        false => ("204", ResponseBuilder::new()),
    };
    let parameters = C::parameters().into_iter().map(|of| parameter(path, of));
    parameters
        .fold(OperationBuilder::new(), OperationBuilder::parameter)
        .tag(tag)
        .summary(Some(C::MEANING.trim_start()))
        .operation_id(Some(snake_case(&format!("{:?}", C::CODE))))
        .response(success.0, success.1)
        .build()
}

fn parameter(path: &str, of: ParameterDescription) -> Parameter {
    let in_path = path.contains(&format!("{{{}}}", of.name));
    ParameterBuilder::new()
        .name(of.name)
        .description(Some(of.meaning))
        .parameter_in(if in_path { ParameterIn::Path } else { ParameterIn::Query })
        .required(if of.required { Required::True } else { Required::False })
        .schema(Some(of.shape))
        .build()
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
