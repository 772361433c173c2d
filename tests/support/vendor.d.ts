// Modules of the import map without types of their own, as far as the pages use them.

declare module "htm/preact" {
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

declare module "icons" {
  export const ICONS: Record<string, string>;
}
