import { render } from 'preact';
import './style.css';
import { App } from './parts/App.js';

render(<App />, document.getElementById('page')!);
