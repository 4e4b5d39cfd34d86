// The form of an alert shows only the fields that its kind looks at. Without this script it shows them all.
(() => {
  "use strict";

  const kind = document.getElementById("kind");

  function show() {
    for (const part of document.querySelectorAll("#alert-form [data-kinds]")) {
      part.hidden = !part.dataset.kinds.split(" ").includes(kind.value);
    }
  }

  kind.addEventListener("change", show);
  show();
})();
