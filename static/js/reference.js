/** The socket's reference: what `/asyncapi.json` says, as a page. */
import { html, render } from "./ui/html.js";

/** What a JSON pointer of the document stands for. */
const follow = (document, node) =>
  node?.$ref ? node.$ref.slice(2).split("/").reduce((place, word) => place[word], document) : node;

/** A schema in a few words. */
function kind(document, schema) {
  const found = follow(document, schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (found.anyOf) return [...new Set(found.anyOf.map((each) => kind(document, each)))].join(" | ");
  if (found.type === "array" && !Array.isArray(found.items)) return `[${kind(document, found.items ?? {})}]`;
  return schema.$ref ? schema.$ref.split("/").pop() : found.format ?? found.type ?? "anything";
}

/** The object that a schema describes, however it is wrapped; nothing for a simple value. */
function members(document, schema) {
  const found = follow(document, schema);
  if (found.allOf) return Object.assign({}, ...found.allOf.map((each) => members(document, each)));
  const inner = found.anyOf?.map((each) => follow(document, each)).find((each) => each.properties) ?? found;
  return Object.fromEntries(
    Object.entries(inner.properties ?? {}).map(([name, each]) => [name, { schema: each, needed: inner.required?.includes(name) }]),
  );
}

const Fields = ({ document, schema }) => html`
  <dl class="fields">
    ${Object.entries(members(document, schema)).map(
      ([name, { schema: each, needed }]) => html`
        <dt><code>${name}</code>${needed ? "" : "?"}</dt>
        <dd>${kind(document, each)}${each.description && html`<br />${each.description}`}</dd>
      `,
    )}
  </dl>
`;

/** A durable event has two arguments, anything else one. */
const Payload = ({ document, payload }) =>
  (Array.isArray(payload.items) ? payload.items : [payload]).map(
    (each) => html`<${Fields} document=${document} schema=${each} />`,
  );

/** What a test sent or got. */
const Sample = ({ message }) =>
  message.examples?.map(
    ({ payload }) => html`<details><summary>Sample</summary><pre>${JSON.stringify(payload, null, 2)}</pre></details>`,
  );

function Operation({ document, id, operation }) {
  const message = follow(document, follow(document, operation.messages[0]));
  const ack = operation.reply && follow(document, follow(document, operation.reply.messages[0]));
  return html`
    <section id=${id}>
      <h3><a href=${`#${id}`}><code>${message.name}</code></a></h3>
      <p>${operation.summary}</p>
      <${Payload} document=${document} payload=${message.payload} />
      <${Sample} message=${message} />
      ${ack &&
      html`
        <h4>Acknowledgement: <code>data</code></h4>
        <${Fields} document=${document} schema=${ack.payload.allOf[1].properties.data} />
        <${Sample} message=${ack} />
      `}
    </section>
  `;
}

const operations = (document, action) => Object.entries(document.operations).filter(([, each]) => each.action === action);

const Part = ({ document, title, action }) => html`
  <h2>${title}</h2>
  ${operations(document, action).map(
    ([id, each]) => html`<${Operation} key=${id} document=${document} id=${id} operation=${each} />`,
  )}
`;

const Contents = ({ document, title, action }) => html`
  <p>
    ${title}:${" "}
    ${operations(document, action).map(
      ([id, each]) => html`<a key=${id} href=${`#${id}`}><code>${follow(document, follow(document, each.messages[0])).name}</code></a> `,
    )}
  </p>
`;

const Reference = ({ document }) => html`
  <h1>${document.info.title}'s socket</h1>
  ${document.info.description.split("\n\n").map((each) => html`<p>${each.replaceAll("`", "")}</p>`)}
  <nav aria-label="Events">
    <${Contents} document=${document} title="From a client" action="receive" />
    <${Contents} document=${document} title="From the server" action="send" />
  </nav>
  <${Part} document=${document} title="From a client" action="receive" />
  <${Part} document=${document} title="From the server" action="send" />
`;

const answer = await fetch("/asyncapi.json");
render(html`<${Reference} document=${await answer.json()} />`, window.document.getElementById("reference"));
