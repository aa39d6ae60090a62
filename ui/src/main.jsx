// The entry: puts the page together.

import { createRoot } from 'react-dom/client';
import { App } from './app.jsx';
import 'graphiql/style.css';
import './style.css';

createRoot(document.getElementById('root')).render(<App />);
