/** Preact, without a build step: templates are `html` literals. */
export { Component, html, render, useEffect, useLayoutEffect, useRef, useState } from "htm/preact";
