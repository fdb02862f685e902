// Starts Swagger UI, and makes the table of contents. A file of its own: the page's Content-Security-Policy allows no script inside the page.
const CONTENTS = document.getElementById("contents");

// As GitHub names a heading, and as the links of the guide have it.
const slug = (words) => words.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");

function addToContents(list, target, words) {
  const link = document.createElement("a");
  link.href = `#${target.id}`;
  link.textContent = words;
  const item = document.createElement("li");
  item.append(link);
  document.getElementById(list).append(item);
  return link;
}

function addSections() {
  for (const heading of document.querySelectorAll(".info .description h2, .info .description h3")) {
    heading.id = slug(heading.textContent);
    if (heading.tagName === "H2") addToContents("sections", heading, heading.textContent);
  }
}

function addOperations() {
  for (const block of document.querySelectorAll(".opblock")) {
    const link = addToContents("operations", block, block.querySelector(".opblock-summary-description").textContent);
    link.addEventListener("click", () => {
      if (!block.classList.contains("is-open")) block.querySelector(".opblock-summary-control").click();
    });
  }
}

// Swagger UI opens every link of a text in another tab.
function stayOnThePage() {
  for (const link of document.querySelectorAll(`.info a[href^="${location.pathname}#"]`)) link.removeAttribute("target");
}

function complete() {
  addSections();
  addOperations();
  stayOnThePage();
  CONTENTS.hidden = false;
  CONTENTS.open = matchMedia("(min-width: 70rem)").matches;
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null, // nothing is sent to anybody else
  persistAuthorization: false,
  displayRequestDuration: true,
  syntaxHighlight: { theme: "tomorrow-night" },
  defaultModelsExpandDepth: 0,
  onComplete: complete,
});
