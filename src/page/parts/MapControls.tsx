import { useEffect, useId, useRef } from 'preact/hooks';

interface Props {
  readonly exportName: string;
  readonly bitmaps: readonly string[];
  readonly bitmap: string | undefined;
  readonly isWhole: boolean;
  readonly onBitmap: (name: string) => void;
  readonly onZoom: (factor: number) => void;
  /** The share of what is shown by which to move on. */
  readonly onPan: (share: number) => void;
  readonly onWhole: () => void;
}

const FACTOR = 4;
const STEP = 0.5;

/** The buttons of a map. The keys +, -, the arrows and Home do the same while one of them has the focus. */
export function MapControls(props: Props) {
  const { exportName, bitmaps, bitmap, isWhole, onBitmap, onZoom, onPan, onWhole } = props;
  const place = useRef<HTMLFieldSetElement>(null);
  const id = useId();
  const actions: Record<string, () => void> = {
    '+': () => onZoom(FACTOR),
    '-': () => onZoom(1 / FACTOR),
    ArrowLeft: () => onPan(-STEP),
    ArrowRight: () => onPan(STEP),
    Home: onWhole,
  };
  const current = useRef(actions);
  current.current = actions;

  useEffect(() => {
    const fieldset = place.current!;
    const onKey = (event: KeyboardEvent) => {
      const action = event.target instanceof HTMLSelectElement ? undefined : current.current[event.key];
      if (!action || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      action();
    };
    fieldset.addEventListener('keydown', onKey);
    return () => fieldset.removeEventListener('keydown', onKey);
  }, []);

  return (
    <fieldset ref={place} class="controls">
      <legend class="hidden">Map of {exportName}</legend>
      <Button label="Zoom in" text="+" onClick={actions['+']!} />
      <Button label="Zoom out" text="−" onClick={actions['-']!} isOff={isWhole} />
      <Button label="Towards the beginning" text="←" onClick={actions.ArrowLeft!} isOff={isWhole} />
      <Button label="Towards the end" text="→" onClick={actions.ArrowRight!} isOff={isWhole} />
      <Button label="Whole disk" text="Whole disk" onClick={onWhole} isOff={isWhole} />
      {bitmaps.length > 1 && (
        <>
          <label for={id}>Bitmap</label>
          <select id={id} value={bitmap} onChange={(event) => onBitmap(event.currentTarget.value)}>
            {bitmaps.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </>
      )}
    </fieldset>
  );
}

interface ButtonProps {
  readonly label: string;
  readonly text: string;
  readonly onClick: () => void;
  readonly isOff?: boolean;
}

/** One that is off keeps the focus, so that keys still work. */
function Button({ label, text, onClick, isOff = false }: ButtonProps) {
  return (
    <button type="button" aria-label={label} title={label} aria-disabled={isOff} onClick={onClick}>
      {text}
    </button>
  );
}
