// What the browser gets under /vendor, as far as the pages use it.

declare module "vendor/socket.io.esm.min.js" {
  export function io(url: string, options: object): any;
}

declare module "vendor/htm.js" {
  export class Component {
    constructor(props?: any);
    props: any;
    state: any;
    /** The element that was drawn. */
    base: any;
    setState(change: any): void;
    forceUpdate(): void;
  }
  export function html(strings: TemplateStringsArray, ...values: any[]): any;
  export function render(tree: any, parent: Element): void;
  export function useState(first?: any): [any, (next: any) => void];
  export function useEffect(work: () => void | (() => void), inputs?: readonly unknown[]): void;
  export function useLayoutEffect(work: () => void | (() => void), inputs?: readonly unknown[]): void;
  export function useRef<T = any>(first?: T): { current: T };
}
