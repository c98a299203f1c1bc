# SPDX-License-Identifier: ISC
# SMTP servers that do what a test wants of them at each stage, nasty ones above all: each on a port
# of its own, all accepted by one child process, each connection served by a process of its own.
#
#   my $s = Gatepost::Script->new(good => {}, busy => { mail => '421 4.3.2 busy' }, odd => sub { my ($c) = @_; ... });
#   $s->port('busy');  $s->took('good');   # recipients of messages that were accepted, in order
#   $s->log('good');                       # C: and S: lines; "connect" and "from ADDRESS" for each connection
#
# A hash says what is different from an honest server: the stages greeting, ehlo, helo, mail, rcpt,
# data, body (while content comes), dot, bdat, auth, rset, quit. A value is a reply, one of the words
# below, or a sub that gets the connection and the argument and returns either (undef: as usual).
#   drop (closes)  reset (RST)  silent (no word, as long as the client waits)  garbage  endless (a
#   line without end)  flood (a reply of many lines, then the usual)  forever (a reply without end)
#   bare (the usual, with bare LF)  split (the usual, a byte at a time)  early (the usual, and more)
# keywords: what EHLO says (else PIPELINING 8BITMIME SIZE ENHANCEDSTATUSCODES DSN); lmtp => 1: a
# reply for each recipient at the dot, by the stage lmtpdot.
package Gatepost::Script;
use strict;
use warnings;
use Gatepost::Kit;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_LINGER TCP_NODELAY);
use Time::HiRes qw(sleep);

sub new {
    my ($class, %script) = @_;
    my $self = bless { dir => tempdir('script'), script => \%script }, $class;
    my %listen;
    for my $name (sort keys %script) {
        my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp', Listen => 50)
            or die "listen: $!";
        $listen{$name} = $l;
        $self->{port}{$name} = $l->sockport;
    }
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        Gatepost::Kit::default_signals();
        eval { $self->_accept(\%listen); 1 } or print STDERR "script: $@";
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
    return $self;
}

sub port { $_[0]{port}{ $_[1] } // die "no script $_[1]" }
sub at   { '[127.0.0.1]:' . $_[0]->port($_[1]) }
sub log  { slurp("$_[0]{dir}/$_[1].log") // '' }
sub took { split /\n/, slurp("$_[0]{dir}/$_[1].took") // '' }
sub connections { scalar(() = $_[0]->log($_[1]) =~ /^connect$/mg) }

sub _accept {
    my ($self, $listen) = @_;
    $SIG{CHLD} = 'IGNORE';
    $SIG{PIPE} = 'IGNORE';
    my %name = map { $listen->{$_} => $_ } keys %$listen;
    my $select = IO::Select->new(values %$listen);
    while (1) {
        for my $l ($select->can_read(1)) {
            my $sock = $l->accept or next;
            next if fork;
            $_->close for values %$listen;
            setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
            my $script = $self->{script}{ $name{$l} };
            my $c = bless { sock => $sock, in => '', base => "$self->{dir}/$name{$l}" }, __PACKAGE__ . '::Connection';
            $c->note('connect');
            $c->note('from ' . $sock->peerhost);
            eval { ref $script eq 'CODE' ? $script->($c) : $c->serve(%$script); 1 } or $c->note("ended: $@");
            POSIX::_exit(0);
        }
        POSIX::_exit(0) if getppid == 1;
    }
}

package Gatepost::Script::Connection;
use strict;
use warnings;

sub append {
    my ($self, $end, $text) = @_;
    open my $fh, '>>', "$self->{base}.$end" or die "$self->{base}: $!";
    syswrite $fh, "$text\n";
}

sub note { $_[0]->append('log', $_[1]) }
sub took { $_[0]->append('took', $_[1]) }

# Everything, or the end of the connection.
sub send {
    my ($self, $bytes) = @_;
    while (length $bytes) {
        my $n = syswrite $self->{sock}, $bytes or die "gone\n";
        substr $bytes, 0, $n, '';
    }
}

sub _more {
    my ($self) = @_;
    sysread $self->{sock}, $self->{in}, 65_536, length $self->{in} or die "gone\n";
}

# A line of the client's, without its end.
sub line {
    my ($self) = @_;
    $self->_more while $self->{in} !~ /\n/;
    $self->{in} =~ s/^([^\n]*)\n//;
    my $line = $1 =~ s/\r\z//r;
    $self->note("C: $line");
    return $line;
}

sub say {
    my ($self, $reply) = @_;
    $self->note("S: $_") for split /\r?\n/, $reply;
    $self->send(($reply =~ s/\r?\n/\r\n/gr) . "\r\n");
    return $reply;
}

sub bytes {
    my ($self, $n) = @_;
    $self->_more while length $self->{in} < $n;
    return substr $self->{in}, 0, $n, '';
}

sub content {
    my ($self) = @_;
    $self->_more while $self->{in} !~ /\A\.\r\n|\r\n\.\r\n/;
    $self->{in} =~ s/\A\.\r\n// and return '';
    my $at = index $self->{in}, "\r\n.\r\n";
    my $content = substr $self->{in}, 0, $at + 5, '';
    return substr $content, 0, -3;
}

sub _reset {
    my ($self) = @_;
    setsockopt $self->{sock}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack('ii', 1, 0);
    close $self->{sock};
    die "reset\n";
}

sub _silent {
    my ($self) = @_;
    1 while sysread $self->{sock}, my $rest, 65_536;
    die "gone\n";
}

my %nasty = (
    drop    => sub { close $_[0]{sock}; die "dropped\n" },
    reset   => \&_reset,
    silent  => \&_silent,
    garbage => sub { $_[0]->send("HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"); $_[0]->_silent },
    endless => sub { while (1) { $_[0]->send('250-' . 'x' x 65_536) } },
    flood   => sub {
        my ($c, $usual) = @_;
        my ($code) = $usual =~ /(\d\d\d)[^\n]*\z/;
        $c->send(join '', map {"$code-line $_\r\n"} 1 .. 3000);
        return $c->say($usual);
    },
    forever => sub { while (1) { $_[0]->send(join '', map {"250-line $_\r\n"} 1 .. 1000) } },
    bare    => sub { $_[0]->send("$_[1]\n" =~ s/\r//gr); return $_[1] },
    split   => sub {
        my ($c, $usual) = @_;
        $c->send($_) && Time::HiRes::sleep(0.001) for split //, ($usual =~ s/\r?\n/\r\n/gr) . "\r\n";
        return $usual;
    },
    early => sub { $_[0]->send("$_[1]\r\n250 2.0.0 Ok: queued as LIE\r\n250 2.0.0 Ok: queued as LIE\r\n"); return $_[1] },
);

# Whether a reply is a good one at its stage, by its last line; of the nasty ones these are what they are else.
sub _is_good {
    my ($stage, $reply) = @_;
    my $good = $stage eq 'data' ? 3 : 2;
    return $reply =~ /^$good[^\n]*\z/m;
}

# One stage: true when its reply is a good one. Before such a one leaves, $before is called.
sub _stage {
    my ($self, $stage, $usual, $arg, $before) = @_;
    my $what = $self->{over}{$stage};
    $what = $what->($self, $arg) if ref $what;
    my $says = !defined $what || $what =~ /^(?:flood|bare|split|early)$/ ? $usual : $nasty{$what} ? '' : $what;
    $before->() if $before && _is_good($stage, $says);
    my $reply = !defined $what ? $self->say($usual) : $nasty{$what} ? $nasty{$what}->($self, $usual) : $self->say($what);
    return _is_good($stage, $reply);
}

# Who knows of the reply finds the recipients.
sub _taken {
    my ($self) = @_;
    my @rcpts = @{ $self->{rcpts} };
    if ($self->{over}{lmtp}) {
        for my $to (@rcpts) {
            $self->_stage('lmtpdot', '250 2.1.5 Ok', $to, sub { $self->took($to) });
        }
    } else {
        $self->_stage('dot', '250 2.0.0 Ok: queued', undef, sub { $self->took($_) for @rcpts });
    }
    $self->{rcpts} = [];
}

sub serve {
    my ($self, %over) = @_;
    $self->{over} = \%over;
    $self->{rcpts} = [];
    $self->_stage('greeting', '220 script.test ESMTP');
    while (defined(my $line = $self->line)) {
        my ($verb, $arg) = $line =~ /^(\S*)\s*(.*)/;
        $verb = lc $verb;
        if ($verb =~ /^(?:ehlo|lhlo)$/) {
            my @words = ('script.test', @{ $over{keywords} // [qw(PIPELINING 8BITMIME SIZE ENHANCEDSTATUSCODES DSN)] });
            my $last = pop @words;
            $self->_stage('ehlo', join "\n", (map {"250-$_"} @words), "250 $last");
        } elsif ($verb eq 'mail') {
            $self->{rcpts} = [];
            $self->{mailed} = $self->_stage('mail', '250 2.1.0 Ok', $arg);
        } elsif ($verb eq 'rcpt') {
            my ($to) = $arg =~ /<([^>]*)>/;
            my $good = $self->_stage('rcpt', $self->{mailed} ? '250 2.1.5 Ok' : '503 5.5.1 need MAIL', $to);
            push @{ $self->{rcpts} }, $to if $good && $self->{mailed};
        } elsif ($verb eq 'data') {
            my $usual = @{ $self->{rcpts} } ? '354 go' : '554 5.5.1 nobody';
            next if !$self->_stage('data', $usual) || !@{ $self->{rcpts} };
            if (defined $over{body}) { $self->bytes(100); $self->_stage('body', '552 5.3.4 too much') }
            $self->content;
            $self->_taken if !defined $over{body};
        } elsif ($verb eq 'bdat') {
            my ($size, $last) = $arg =~ /^(\d+)\s*(LAST)?/i;
            $self->bytes($size);
            if ($last) { $self->_taken }
            else       { $self->_stage('bdat', '250 2.0.0 Ok') }
        } elsif ($verb eq 'rset') {
            $self->{rcpts} = [];
            $self->_stage('rset', '250 2.0.0 Ok');
        } elsif ($verb eq 'quit') {
            $self->_stage('quit', '221 2.0.0 Bye');
            return;
        } else {
            my %usual = (helo => '250 script.test', auth => '235 2.7.0 ok', starttls => '454 4.7.0 no');
            $self->_stage($verb, $usual{$verb} // '502 5.5.2 what?', $arg);
        }
    }
}

1;
