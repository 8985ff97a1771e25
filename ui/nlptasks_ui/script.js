// Elements with the same data-pair are highlighted together; an element with data-scroll is scrolled into view when it
// appears; `.nlp-copy` copies its data-copy. `nlptasks.stopped()` says whether the last click or key press was on a
// button that stops something.
(() => {
  let stopped = false;
  const pressed = (event) => {
    stopped = event.target instanceof Element && event.target.closest(".nlp-stops") !== null;
  };
  document.addEventListener("click", pressed, true);
  document.addEventListener("keydown", pressed, true);
  window.nlptasks = { stopped: () => stopped };

  const light = (target) => {
    const one = target instanceof Element ? target.closest("[data-pair]") : null;
    const room = one ? one.closest(".nlp-result") : null;
    for (const lit of document.querySelectorAll(".nlp-lit")) lit.classList.remove("nlp-lit");
    if (!room) return;
    for (const other of room.querySelectorAll("[data-pair]")) {
      if (other.dataset.pair !== one.dataset.pair) continue;
      other.classList.add("nlp-lit");
      if (other !== one) show(other);
    }
  };
  // Only the scrolling part moves, never the page.
  const show = (element) => {
    const part = element.closest(".nlp-scroll");
    if (!part) return;
    const inside = element.getBoundingClientRect();
    const frame = part.getBoundingClientRect();
    if (inside.top >= frame.top && inside.bottom <= frame.bottom) return;
    part.scrollTop += inside.top - frame.top - part.clientHeight / 3;
  };
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest(".nlp-copy[data-copy]") : null;
    if (button) navigator.clipboard.writeText(button.dataset.copy).then(() => (button.textContent = "Copied"));
  });
  document.addEventListener("mouseover", (event) => light(event.target));
  document.addEventListener("focusin", (event) => light(event.target));
  // A message of the chat is escaped; where it is edited it is the text again.
  const unescape = (box) => {
    box.value = box.value.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (!(node instanceof Element)) continue;
        node.querySelectorAll("[data-scroll]").forEach(show);
        if (node.matches(".edit-textarea")) unescape(node);
        node.querySelectorAll(".edit-textarea").forEach(unescape);
      }
    }
  }).observe(document, { childList: true, subtree: true });
})();
